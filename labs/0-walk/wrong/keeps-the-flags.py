"""
loses: walk/direct walk/huge walk/physical walk/word
hint: flags-kept
is: what comes if the entry's low 12 bits are still in it
thought: the entry is the address of the frame
"""


def frame(self, entry, level):
    return entry & ~(1 << 63)
