"""
loses: walk/direct walk/distances walk/frames walk/leaf walk/maps walk/missing walk/note
  walk/physical walk/rights walk/word
hint: one-level-early
is: what comes if the walk ended at the PD
thought: the entry has an address and is present, so that is the page
"""


def is_leaf(self, entry, level):
    return level <= 2
