"""
loses: walk/direct walk/distances walk/frames walk/huge walk/index walk/leaf walk/maps walk/missing
  walk/note walk/physical walk/rights walk/tables walk/word
hint: wrong-bits
is: what comes with the bits in the wrong order
thought: the first table takes the lowest bits of the page number
"""


def index(self, va, level):
    return va >> (12 + 9 * (4 - level)) & 511
