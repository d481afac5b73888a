"""
loses: walk/direct walk/distances walk/frames walk/huge walk/index walk/leaf walk/maps walk/missing
  walk/note walk/physical walk/rights walk/tables walk/word
hint: wrong-bits
is: what comes with ten bits for each level
thought: a page has 12 bits, and each table ten more
"""


def index(self, va, level):
    return va >> (12 + 10 * (level - 1)) & 1023
