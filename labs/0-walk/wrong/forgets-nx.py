"""
loses: walk/rights
hint: nx-forgotten
is: what comes without a look at bit 63
thought: bit 0 is present, bit 1 writable; the rest is an address
"""


def may(self, entry):
    return "r" + ("w" if entry & 2 else "-") + "x"
