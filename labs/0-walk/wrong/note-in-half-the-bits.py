"""
loses: walk/note
hint: note-cut-wrong
is: what bits 63 to 32 are
thought: the upper half of the entry
"""


def answer_note(self):
    return self.entry(self.asked.area - 4096) >> 32
