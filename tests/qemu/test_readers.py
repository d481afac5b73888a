"""The readers themselves, on tables made by hand: what the others trust must be right."""

import pytest

import readers
from readers import HUGE, LARGE, NX, PAGE, PRESENT, PS, USER, WRITE, Leaf

TABLE = PRESENT | WRITE


class Fake:
    """RAM as a dictionary of tables: {physical address: {index: entry}}."""

    def __init__(self, tables):
        self.tables = tables

    def table(self, pa):
        return [self.tables[pa].get(i, 0) for i in range(512)]


FOUR = {
    0x1000: {511: 0x2000 | TABLE, 0: 1 << 62},  # 62: not present, whatever else it says
    0x2000: {510: 0x3000 | TABLE | USER, 511: 0x40000000 | PRESENT | PS},
    0x3000: {0: 0x4000 | TABLE, 1: 0x200000 | TABLE | PS | NX, 2: 0x5000 | PRESENT},
    0x4000: {0: 0x9000 | PRESENT, 7: 0x8000 | TABLE | NX},
    0x5000: {1: 0xA000 | TABLE},  # W here, but not in the entry above
}
BASE = 0xFFFFFFFF80000000
LEAVES = [
    Leaf(BASE, 0x9000, PAGE, "r-x"),
    Leaf(BASE + 7 * PAGE, 0x8000, PAGE, "rw-"),
    Leaf(BASE + LARGE, 0x200000, LARGE, "rw-"),
    Leaf(BASE + 2 * LARGE + PAGE, 0xA000, PAGE, "r-x"),
    Leaf(BASE + HUGE, 0x40000000, HUGE, "r-x"),
]


def test_walk_4_levels():
    assert readers.walk(Fake(FOUR), 0x1000, 4) == (LEAVES, [0x1000, 0x2000, 0x3000, 0x4000, 0x5000])


def test_walk_5_levels():
    assert readers.walk(Fake(FOUR | {0x6000: {511: 0x1000 | TABLE}}), 0x6018, 5)[0] == LEAVES
    low = readers.walk(Fake(FOUR | {0x6000: {255: 0x1000 | TABLE}}), 0x6000, 5)[0]
    assert low[0].va == 0x00FFFFFF80000000, "bit 56 clear: the lower half"


def test_walk_refuses_a_large_leaf_where_none_can_be():
    with pytest.raises(AssertionError, match="level 4"):
        readers.walk(Fake({0x1000: {0: PRESENT | PS}}), 0x1000, 4)


def test_tlb_leaves():
    text = ("ffffc90000001000: 0000000003c61000 XG-DA---W\r\nffff888000000000: 0000000000000000 XGPDA---W\r\n"
            "0000000000400000: 0000000000005000 ----A--U-\r\n")
    assert readers.tlb_leaves(text) == {(0xFFFFC90000001000, 0x3C61000, False, "rw-"),
                                        (0xFFFF888000000000, 0, True, "rw-"), (0x400000, 0x5000, False, "r-xu")}
    with pytest.raises(AssertionError, match="4 lines"):
        readers.tlb_leaves(text + "PG disabled\r\n")


def test_registers():
    assert readers.registers("CR0=80010033 CR2=0 CR3=00000000001d2000 CR4=000016a0") == (0x1D2000, 5)
    with pytest.raises(AssertionError, match="paging is off"):
        readers.registers("CR0=00000011 CR2=0 CR3=0 CR4=0")
