"""tools/gdb/tessera/paging.py without gdb, on tables made by hand and by dice, against the walker of tests/qemu/readers.py."""

import functools
import random
import struct

import pytest

import readers
from readers import LARGE, PAGE
from tessera import paging
from tessera.paging import ADDRESS, NX, P, PS, TOP, U, W

TABLE = P | W
BASE = 0xFFFFFFFF80000000
FOUR = {
    0x1000: {511: 0x2000 | TABLE | U, 0: 1 << 62},
    0x2000: {510: 0x3000 | TABLE | U, 511: 0x40000000 | P | PS},
    0x3000: {0: 0x4000 | TABLE | U, 1: 0x200000 | TABLE | PS | NX, 2: 0x5000 | P},
    0x4000: {0: 0x9000 | P, 7: 0x8000 | TABLE | NX, 8: 0x9000 | TABLE | NX, 9: 0xB000 | TABLE | NX, 11: 0x8 << 31 | 12},
    0x5000: {1: 0xA000 | TABLE},
}


class Memory:
    """Physical memory as a dictionary of tables; both walkers can read it."""

    def __init__(self, tables):
        self.tables = tables

    @functools.cache
    def table(self, pa):
        return [self.tables[pa].get(i, 0) for i in range(512)]

    def phys(self, pa, length):
        data = struct.pack("<512Q", *self.table(pa & ADDRESS))
        assert pa % PAGE + length <= PAGE
        return data[pa % PAGE:pa % PAGE + length]


HAND = Memory(FOUR)


def grown(seed, levels):
    """A tree of tables by dice: entries of all kinds at all levels."""
    dice, tables = random.Random(seed), {}

    def table(level):
        pa = (len(tables) + 1) * PAGE
        entries = tables[pa] = {}
        for index in dice.sample([0, 1, 2, 3, 255, 256, 257, 510, 511, *range(40, 60)], dice.randint(4, 8)):
            bits = dice.choice([P, P | W, P | W | U, P | U]) | dice.choice([0, NX])
            size = paging.level_bytes(level)
            if dice.random() < 0.2:
                entries[index] = dice.getrandbits(64) & ~1
            elif level == 1 or (level <= 3 and dice.random() < 0.3):
                entries[index] = dice.randrange(1 << 20) * size % (1 << 44) | bits | (PS if level > 1 else 0)
            else:
                entries[index] = table(level - 1) | bits
        return pa

    return table(levels), Memory(tables)


def as_readers(leaf):
    return readers.Leaf(leaf.va, leaf.pa, leaf.bytes, paging.RIGHTS[leaf.rights])


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("seed", range(6))
def test_leaves_are_those_of_the_other_walker(seed, levels):
    root, memory = grown(seed, levels)
    expected, tables = readers.walk(memory, root, levels)
    found = list(paging.leaves(memory.phys, root, levels))
    assert [as_readers(leaf) for leaf in found] == sorted(expected)
    assert len(found) > 20, "the dice made too little"
    assert [pa for _, _, pa, _, _ in paging.tables(memory.phys, root, levels)] == tables
    for leaf in found:
        offset = leaf.bytes // 3
        assert paging.translate(memory.phys, root, levels, leaf.va + offset) == leaf.pa + offset
        *_, last = steps = list(paging.walk(memory.phys, root, levels, leaf.va))
        assert (last.value, paging.rights_along(steps)) == (leaf.value, leaf.rights)


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("seed", range(6))
def test_part_of_the_leaves(seed, levels):
    """In a range: what serves any byte of it, whole."""
    root, memory = grown(seed, levels)
    everything = list(paging.entries(memory.phys, root, levels))
    dice = random.Random(seed)
    edges = [e.va + delta & TOP for e in dice.sample(everything, 12) for delta in (-1, 0, 1)] + [0, TOP, 1 << 60]
    for lo in edges:
        hi = dice.choice(edges)
        assert list(paging.entries(memory.phys, root, levels, lo, hi)) == [
            e for e in everything if e.va <= hi and e.va + paging.level_bytes(e.level) > lo and lo <= hi], (hex(lo), hex(hi))


def test_walk():
    steps = list(paging.walk(HAND.phys, 0x1000, 4, BASE + 8 * PAGE + 5))
    assert [(s.level, s.index, s.at) for s in steps] == [(4, 511, 0x1FF8), (3, 510, 0x2FF0), (2, 0, 0x3000), (1, 8, 0x4040)]
    assert paging.RIGHTS[paging.rights_along(steps)] == "rw-"
    *_, last = paging.walk(HAND.phys, 0x1000, 4, BASE + 3 * LARGE)
    assert (last.level, last.index, last.value) == (2, 3, 0)
    assert paging.translate(HAND.phys, 0x1000, 4, BASE + 3 * LARGE) is None
    assert paging.translate(HAND.phys, 0x1000, 4, BASE + LARGE + 77) == 0x200000 + 77
    assert paging.translate(HAND.phys, 0x1000, 4, BASE + LARGE + 77 & (1 << 48) - 1) is None, "not canonical"


def test_reserved_bits():
    assert paging.reserved_bits(P | PS, 4) == PS
    assert paging.reserved_bits(P | PS | 0x100000, 2) == 0x100000
    assert paging.reserved_bits(P | PS | 0x1000, 2) == 0, "bit 12 is PAT"
    assert paging.reserved_bits(P | PS | 0x200000, 2) == 0
    assert paging.reserved_bits(P | PS | 0x200000, 3) == 0x200000
    assert paging.reserved_bits(0x8000 | P | PS, 1) == 0
    assert paging.reserved_bits(PS, 4) == 0, "not present: nothing is reserved"
    memory = Memory({0x1000: {0: 0x1000 | TABLE | PS}})
    assert [s.level for s in paging.walk(memory.phys, 0x1000, 4, 0)] == [4], "the CPU ends there with a fault"
    assert paging.translate(memory.phys, 0x1000, 4, 0) is None


def test_where_a_large_leaf_lies():
    """Without bit 12, which is PAT, and without reserved bits."""
    assert paging.address(0x40000000 | 0x1000 | P | PS, 2) == 0x40000000
    assert paging.address(0x40000000 | 0x1000 | P | PS, 3) == 0x40000000
    assert paging.address(0x1000 | P | NX, 2) == paging.address(0x1000 | P | PS, 1) == 0x1000


def test_rights_of_levels_above_end_a_run():
    """Entries alike, side by side in two tables, but what leads to the second one has no W."""
    memory = Memory({0x1000: {0: 0x2000 | TABLE}, 0x2000: {0: 0x3000 | TABLE}, 0x3000: {0: 0x4000 | TABLE, 1: 0x5000 | P},
                     0x4000: {511: 0x9000 | TABLE}, 0x5000: {0: 0xA000 | TABLE}})
    found = [(r.va, r.pages, paging.RIGHTS[r.rights]) for r in paging.runs(paging.entries(memory.phys, 0x1000, 4))]
    assert found == [(511 * PAGE, 1, "rwx"), (512 * PAGE, 1, "r-x")]


def test_a_table_that_leads_to_itself():
    memory = Memory({0x1000: {5: 0x1000 | TABLE, 7: 0x2000 | TABLE}, 0x2000: {1: 0x1000 | TABLE}})
    assert len(list(paging.tables(memory.phys, 0x1000, 4))) == 2
    assert not list(paging.entries(memory.phys, 0x1000, 4))


def test_addresses():
    assert paging.canonical(0x00007FFFFFFFFFFF, 4) and not paging.canonical(0x0000800000000000, 4)
    assert paging.canonical(0x00FFFFFFFFFFFFFF, 5) and not paging.canonical(0x0100000000000000, 5)
    assert paging.unfold(0x800000000000, 4) == 0xFFFF800000000000
    assert [paging.index_of(0xFFFFC90000017ABC, level) for level in (4, 3, 2, 1)] == [402, 0, 0, 23]
    assert [paging.index_bits(level) for level in (5, 4, 1)] == [(56, 48), (47, 39), (20, 12)]


def test_runs_by_hand():
    found = list(paging.runs(paging.entries(HAND.phys, 0x1000, 4)))
    notes = [e.va for e in found if not isinstance(e, paging.Run)]
    assert notes == [0, BASE + 11 * PAGE]
    assert [(r.va, r.pa, r.bytes, r.pages, r.pieces, paging.RIGHTS[r.rights])
            for r in found if isinstance(r, paging.Run)] == [
        (BASE, 0x9000, PAGE, 1, 1, "r-x"), (BASE + 7 * PAGE, 0x8000, PAGE, 3, 2, "rw-"),
        (BASE + LARGE, 0x200000, LARGE, 1, 1, "rw-"), (BASE + 2 * LARGE + PAGE, 0xA000, PAGE, 1, 1, "r-x"),
        (BASE + (1 << 30), 0x40000000, 1 << 30, 1, 1, "r-x")]
    split = [r for r in paging.runs(paging.entries(HAND.phys, 0x1000, 4), split=True) if isinstance(r, paging.Run)]
    assert [(r.pa, r.pages, r.pieces) for r in split][1:3] == [(0x8000, 2, 1), (0xB000, 1, 1)]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_runs_hold_the_same_pages(seed, split):
    root, memory = grown(seed, 4)
    leaves = list(paging.leaves(memory.phys, root, 4))
    runs = [r for r in paging.runs(paging.entries(memory.phys, root, 4), split) if isinstance(r, paging.Run)]
    pages = [(r.va + i * r.bytes, r.bytes, r.rights) for r in runs for i in range(r.pages)]
    assert pages == [(leaf.va, leaf.bytes, leaf.rights) for leaf in leaves]
    if split:
        assert [r.pa + i * r.bytes for r in runs for i in range(r.pages)] == [leaf.pa for leaf in leaves]


@pytest.mark.parametrize("merged", [False, True])
def test_gaps_fill_the_range(merged):
    root, memory = grown(3, 4)
    things = paging.entries(memory.phys, root, 4)
    end = 0
    for thing in paging.with_gaps(paging.runs(things) if merged else things, 0, TOP):
        assert thing.va == end or paging.unfold(end & (1 << 48) - 1, 4) == thing.va
        end = thing.va + (thing.bytes * thing.pages if isinstance(thing, paging.Run) else
                          thing.bytes if isinstance(thing, paging.Gap) else paging.level_bytes(thing.level))
    assert end == 1 << 64
