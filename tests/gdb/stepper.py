"""A page's mapping after every single instruction: what `mm watch` is measured by. test_watch.py has gdb load it.

It knows nothing of watchpoints, nor of our commands: it walks the tables in the machine's RAM by the rules of
tests/qemu/readers.py after each step, and counts how often the result has changed.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "qemu"))
import readers  # noqa: E402  pylint: disable=wrong-import-position


def lookup(ram, cr3, levels, va):
    """(frame of va, size, rights), or None."""
    table, write, execute = cr3 & readers.ADDRESS, True, True
    for level in range(levels, 0, -1):
        entry = ram.table(table)[va >> 3 + 9 * level & 511]
        if not entry & readers.PRESENT:
            return None
        write, execute = write and bool(entry & readers.WRITE), execute and not entry & readers.NX
        if level == 1 or entry & readers.PS:
            size = readers.PAGE << 9 * (level - 1)
            return (entry & readers.ADDRESS & -size) + va % size, size, readers.prot_text(write, execute, False)
        table = entry & readers.ADDRESS
    return None


class Stepper:
    """In gdb, stopped at watch_this(): goes on until it is called again."""

    def __init__(self, path):
        import gdb
        self.gdb = gdb
        self.ram = readers.Ram(path, gdb.execute("monitor info mtree -f", to_string=True))
        self.cr3, self.levels = readers.registers(gdb.execute("monitor info registers", to_string=True))
        self.end, self.va = self.number("&watch_this"), self.number("$rsi")
        self.was = lookup(self.ram, self.cr3, self.levels, self.va)
        self.changes = self.steps = 0

    def number(self, expression):
        return int(self.gdb.parse_and_eval(f"(unsigned long)({expression})"))

    def go(self, most):
        """At most so many instructions. Has it arrived?"""
        for _ in range(most):
            self.gdb.execute("stepi", to_string=True)
            self.steps += 1
            now = lookup(self.ram, self.cr3, self.levels, self.va)
            self.changes += now != self.was
            self.was = now
            if self.number("$rip") == self.end:
                return True
        return False
