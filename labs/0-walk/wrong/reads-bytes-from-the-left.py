"""
loses: walk/word
hint: bytes-reversed
is: the bytes in the order in which they lie
thought: the first byte is the first two digits
"""


def answer_word(self):
    return int.from_bytes(self.read(self.answer_physical(), 8), "big")
