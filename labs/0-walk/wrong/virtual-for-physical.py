"""
loses: walk/block walk/huge walk/physical
hint: virtual-for-physical
is: its virtual address in the direct map, not the physical one
thought: I can read it there, in gdb, so that is where it is
"""


def translate(self, va):
    level, entry = self.walk(va)[-1]
    return 0xFFFF888000000000 + self.join(self.frame(entry, level), self.offset(va, level)) if entry & 1 else None


def answer_word(self):
    return self.load(self.answer_physical() - 0xFFFF888000000000)


def answer_direct(self):
    return self.answer_physical()


def number(self, pa):
    return pa - 0xFFFF888000000000 >> 12


def answer_block(self):
    return self.asked.block
