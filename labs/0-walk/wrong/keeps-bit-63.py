"""
loses: walk/direct walk/frames walk/huge walk/physical walk/word
hint: bit-63-kept
is: what comes if the entry's bit 63 is still in it
thought: the flags are the last three digits, and those are gone
"""


def frame(self, entry, level):
    return entry & -(4096 << 9 * (level - 1))
