"""
loses: walk/maps
hint: not-in-the-area
is: its address in the direct map
thought: from physical to virtual is one addition
"""


def answer_maps(self):
    return 0xFFFF888000000000 + self.asked.frame
