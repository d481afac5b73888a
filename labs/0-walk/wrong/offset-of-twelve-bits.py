"""
loses: walk/huge
hint: short-offset
is: what comes with only 12 bits of the offset
thought: the offset is the last three digits
"""


def offset(self, va, level):
    return va & 0xFFF
