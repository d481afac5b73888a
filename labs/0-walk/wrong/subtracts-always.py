"""
loses: walk/direct walk/distances walk/frames walk/huge walk/physical walk/word
hint: only-direct-map
is: what comes if the start of the direct map is subtracted
thought: physical is virtual minus a constant; kmalloc does it that way
"""


def translate(self, va):
    return va - 0xFFFF888000000000
