"""
loses: walk/index walk/note
hint: hex-as-decimal
is: what comes of a decimal number with 0x before it
thought: numbers in here begin with 0x
"""


def digits(self, key, value):
    return f"0x{value}" if key in ("index", "note") else str(value)
