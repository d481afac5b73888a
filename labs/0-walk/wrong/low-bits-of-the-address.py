"""
loses: walk/direct walk/distances walk/frames walk/huge walk/physical walk/word
hint: only-direct-map
is: what the lower 48 bits of the virtual address are
thought: the upper digits only say that it is the kernel's; the rest is where it is
"""


def translate(self, va):
    return va & (1 << 48) - 1
