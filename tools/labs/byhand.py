"""byhand - a walk through page tables as a student does it by hand, step by step; and as he does it wrong.

ByHand has a method for each step and one for each question of lab 0. A wrong solution, wrong/NAME.py, is Python that has
one of the steps in another way:

    '''
    loses: walk/physical walk/huge
    hint: no-offset
    is: where the page begins, and not the byte
    thought: an entry says where the page is, so that is where the byte is
    '''

    def join(self, frame, offset):
        return frame

All answers that hang on this step then come out wrong in the way in which they do on paper. So it serves twice: labs-check
hands in its answers, and the grader knows by them what a student did: an answer that is exactly what this mistake makes
of his machine has *is:* for an explanation, and hints look for that.
"""

import re
import struct
import types
from collections import namedtuple

PAGE = 1 << 12
ADDRESS = 0x000FFFFFFFFFF000
PRESENT, WRITE, PS, NX = 1, 2, 1 << 7, 1 << 63
DIRECT = 0xFFFF888000000000
FIELDS = "example byte area other frame block huge hole1 hole2 hole3 hole4 window last".split()  # struct lab_asked
DECIMAL = ("index", "distances", "missing", "note")  # the other numbers are written in hexadecimal
QUESTIONS = ("index tables leaf physical word frames distances direct block maps rights missing note huge window").split()
Mistake = namedtuple("Mistake", "name says methods")


def asked_for(data):
    """What struct lab_asked holds."""
    return types.SimpleNamespace(**dict(zip(FIELDS, struct.unpack(f"<{len(FIELDS)}Q", data))))


class ByHand:
    """One machine: what is asked for in it, its RAM, as a function read(pa, bytes), and what CR3 holds."""

    def __init__(self, asked, read, cr3):
        self.asked, self.read, self.cr3 = asked, read, cr3

    # Steps

    def index(self, va, level):
        """Which of a table's 512 entries: nine bits for each level, above the twelve of the page."""
        return va >> (12 + 9 * (level - 1)) & 511

    def slot(self, table, index):
        """Where that entry lies: each has 8 bytes."""
        return table + 8 * index

    def load(self, pa):
        """The 8 bytes there, the lowest first."""
        return int.from_bytes(self.read(pa & (1 << 64) - 1, 8), "little")

    def is_leaf(self, entry, level):
        return level == 1 or bool(entry & PS)

    def table(self, entry):
        """Where the next table is."""
        return entry & ADDRESS

    def frame(self, entry, level):
        """Where the page is."""
        return entry & ADDRESS & -(PAGE << 9 * (level - 1))

    def offset(self, va, level):
        """The bits that no table has used."""
        return va & (PAGE << 9 * (level - 1)) - 1

    def join(self, frame, offset):
        return frame + offset

    def page(self, area, n):
        """Where page n of an area begins."""
        return area + n * PAGE

    def may(self, entry):
        return "r" + ("w" if entry & WRITE else "-") + ("-" if entry & NX else "x")

    def level_name(self, level):
        return level

    # What they make

    def walk(self, va):
        """(level, entry) from the root to the leaf, or to where nothing is."""
        table, found = self.cr3 & ADDRESS, []
        for level in (4, 3, 2, 1):
            entry = self.load(self.slot(table, self.index(va, level)))
            found.append((level, entry))
            if not entry & PRESENT or self.is_leaf(entry, level):
                break
            table = self.table(entry)
        return found

    def translate(self, va):
        """The physical address; None: there is none."""
        level, entry = self.walk(va)[-1]
        return self.join(self.frame(entry, level), self.offset(va, level)) if entry & PRESENT else None

    def entry(self, va):
        """The last one of a walk."""
        return self.walk(va)[-1][1]

    # The questions

    def answer_index(self):
        return [self.index(self.asked.byte, level) for level in (4, 3, 2, 1)]

    def answer_tables(self):
        entries = [entry for level, entry in self.walk(self.asked.byte) if level > 1]
        return entries if len(entries) == 3 else None

    def answer_leaf(self):
        return self.entry(self.asked.byte)

    def answer_physical(self):
        return self.translate(self.asked.byte)

    def answer_word(self):
        pa = self.answer_physical()
        return self.load(pa) if pa is not None else None

    def number(self, pa):
        """Of the frame in which this is."""
        return pa >> 12

    def answer_frames(self):
        found = [self.translate(self.page(self.asked.area, n)) for n in range(4)]
        return [self.number(pa) for pa in found] if None not in found else None

    def answer_distances(self):
        frames = self.answer_frames()
        return [b - a for a, b in zip(frames, frames[1:])] if frames else None

    def answer_direct(self):
        pa = self.answer_physical()
        return DIRECT + pa if pa is not None else None

    def answer_block(self):
        return self.asked.block - DIRECT

    def answer_maps(self):
        """Which of B's pages has that frame?"""
        for n in range(8):
            level, entry = self.walk(self.page(self.asked.other, n))[-1]
            if entry & PRESENT and self.frame(entry, level) & ADDRESS == self.asked.frame & -PAGE:
                return self.join(self.asked.other + n * PAGE, self.asked.frame & PAGE - 1)
        return None

    def answer_rights(self):
        return [self.may(self.entry(self.page(self.asked.other, n))) for n in range(4)]

    def answer_missing(self):
        holes = self.asked.hole1, self.asked.hole2, self.asked.hole3, self.asked.hole4
        return [self.level_name(self.walk(va)[-1][0]) for va in holes]

    def answer_note(self):
        """The number of pages in a guard's entry."""
        return self.entry(self.asked.area - PAGE) >> 31

    def answer_huge(self):
        return self.translate(self.asked.huge)

    def answer_window(self):
        return self.asked.last - self.asked.window + 1

    # A sheet

    def digits(self, key, value):
        return digits(key, value)

    def sheet(self):
        """All answers, as TOML; without those that cannot be had in this way."""
        answers = {key: getattr(self, f"answer_{key}")() for key in QUESTIONS}
        return "".join(f"{key} = {written(key, value, self.digits)}\n" for key, value in answers.items() if value is not None)


def digits(key, value):
    """A number as it is written down; gdb reckons with 64 bits."""
    return str(value) if key in DECIMAL else f"{value & (1 << 64) - 1:#x}"


def written(key, value, number=digits):
    """An answer as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(written(key, one, number) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str) else number(key, value)


def mistakes(folder):
    """Those of wrong/*.py, in the order of their names."""
    return [read_mistake(path) for path in sorted(folder.glob("*.py"))]


def read_mistake(path):
    text = path.read_text(encoding="utf-8")
    says = re.search(r"^is: (.*)$", text, re.MULTILINE)
    methods = {}
    exec(compile(text, str(path), "exec"), methods)  # pylint: disable=exec-used
    methods = {name: value for name, value in methods.items() if isinstance(value, types.FunctionType)}
    strange = [name for name in methods if not hasattr(ByHand, name)]
    if strange or not methods or not says:
        what = f"{strange[0]} is no step of ByHand" if strange else "is: is missing" if methods else "it changes no step of ByHand"
        raise ValueError(f"{path}: {what}; tools/labs/byhand.py shows the format")
    return Mistake(path.stem, says[1].strip(), methods)


def made(mistake, *machine):
    """A student who makes this mistake, at that machine."""
    return type(mistake.name, (ByHand,), mistake.methods)(*machine)
