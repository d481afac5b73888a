"""
loses: walk/distances walk/frames
hint: address-for-number bytes-for-frames
is: what comes of addresses, where frame numbers are asked for
thought: a frame is where it begins
"""


def number(self, pa):
    return pa & ~0xFFF
