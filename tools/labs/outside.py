"""outside - what can be seen of a machine that has come to its end, without asking the guest anything.

QEMU tells CR3 and a few more registers; the guest's RAM is a file, in which tests/qemu/readers.py follows the page tables as
the CPU does. So this is true whatever the kernel says of itself. It is no test of a lab, and costs no points: where a
guest whose tests all passed shows one of these, a person should look at what was handed in.
"""

import importlib.util
import pathlib
import re

WP = 1 << 16
NXE = 1 << 11
DIRECT = 0xFFFF888000000000  # docs/address-map.md; a machine that is graded has 4 levels


def load_readers():
    """Shared with the tests of the kernel."""
    path = pathlib.Path(__file__).resolve().parents[2] / "tests/qemu/readers.py"
    spec = importlib.util.spec_from_file_location("readers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


readers = load_readers()


class Ram(readers.Ram):
    """All of it in one piece, and mapped already."""

    def __init__(self, mapped):  # pylint: disable=super-init-not-called
        self.pieces, self.map, self.words = [(0, len(mapped) - 1, 0)], mapped, memoryview(mapped).cast("Q")


def faults(elf, mapped, registers):
    """What is wrong, in words; registers as HMP `info registers` prints them."""
    found = switched_off(registers)
    ram = Ram(mapped)
    try:
        cr3, levels = readers.registers(registers)
        leaves, tables = readers.walk(ram, cr3, levels)
    except (AssertionError, ValueError, KeyError) as problem:
        return found + [f"the page tables cannot be followed: {problem}"]
    finally:
        ram.words.release()
    return found + rights(leaves) + aliases(elf, leaves, tables)


def switched_off(registers):
    """Protections that the kernel turns on when it starts."""
    value = {name: int(v, 16) for name, v in re.findall(r"\b(CR0|EFER)=([0-9a-f]+)", registers)}
    return [f"{what} is switched off" for what, on in (("write protection (CR0.WP)", value.get("CR0", 0) & WP),
                                                       ("no-execute (EFER.NXE)", value.get("EFER", 0) & NXE)) if not on]


def rights(leaves):
    """Mappings that no page of ours has."""
    return [f"{leaf.va:#x} is mapped {leaf.prot}" for leaf in leaves if "u" in leaf.prot or "wx" in leaf.prot or leaf.va == 0][:5]


def aliases(elf, leaves, tables):
    """Writable names of what nobody may write."""
    found, tables = [], set(tables)
    for leaf in leaves:
        if "w" not in leaf.prot:
            continue
        for pa, content in elf.constant():
            if leaf.pa < pa + len(content) and pa < leaf.pa + leaf.bytes:
                found.append(f"the kernel's code or constants at {max(pa, leaf.pa):#x} can be written at {leaf.va:#x}")
        if leaf.pa in tables and leaf.va - leaf.pa != DIRECT:
            found.append(f"the page table at {leaf.pa:#x} can be written at {leaf.va:#x}, outside of the direct map")
    return found[:5]
