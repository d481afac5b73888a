"""mm why: what it says of a fault is what the kernel says of it, and it says so before the kernel does.

The kernel explains each fault that it survives (`fault r VA`) or that ends it. We stop the machine at the first
instruction of the handler, ask gdb, let the kernel go on, and compare: the same line of the fault, the same walk, range,
area, advice. Faults that no command can cause are made by gdb: it changes an entry, or a register.
"""

import re

import pytest

from readers import PAGE

KERNEL_STEP = re.compile(r"^  (\w+) +\[ *(\d+)\]  0x([0-9a-f]{16})  (0x[0-9a-f]{16})  (.*)$")
OUR_STEP = re.compile(r"^  (\w+) +\[ *(\d+)\]  \d+-\d+  0x([0-9a-f]{11})  (0x[0-9a-f]{16})  (.*)$")
MACHINES = pytest.mark.parametrize("variables", [{}, {"LA57": 1}], ids=["4-levels", "5-levels"])
PAGE_FAULT, PROTECTION, DOUBLE_FAULT = 14, 13, 8
DIRECT = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}


def fault_report(text):
    """The kernel's lines about one fault, from FAULT to its advice."""
    found = re.search(r"^FAULT: .*?^  next .*?$", text, re.MULTILINE | re.DOTALL)
    assert found, f"the kernel explains no fault:\n{text}"
    return found[0].replace("\r", "").split("\n")


def same(ours, kernels):
    """Each line of the kernel's stands in ours, in this order; a step of the walk with its entry's physical address."""
    ours = iter(line for line in ours if not line.startswith("  table index"))
    levels = 5 if any(line.startswith("  PML5") for line in kernels) else 4
    for line in (line for line in kernels if not line.startswith("  table index")):
        step = KERNEL_STEP.match(line)
        mine = next(ours)
        if not step:
            assert mine == line
            continue
        found = OUR_STEP.match(mine)
        assert found and found.group(1, 2, 4) == step.group(1, 2, 4) and found[5].endswith(step[5]), (mine, line)
        assert int(found[3], 16) == int(step[3], 16) - DIRECT[levels], (mine, line)


def after(lines, begin):
    """lines from the first that begins so."""
    return lines[next(i for i, line in enumerate(lines) if line.startswith(begin)):]


def at_handler(guest, vector=PAGE_FAULT, condition=None):
    """Stop at the first instruction of an exception's handler."""
    guest.gdb(f"hbreak *((unsigned long)&trap_stubs + {vector} * 16)" + (f" if {condition}" if condition else ""))


def made(guest):
    """Areas of all kinds: their names and addresses."""
    areas = {name: int(guest.run(line)[1][0]["va"], 16) for name, line in (
        ("area", "vmalloc 64K"), ("freed", "vmalloc 20K"), ("gone", "vmalloc 1M"), ("huge", "huge 5M"),
        ("device", "ioremap 0xfed00000 0x2000"))}
    guest.command(f"vfree {areas['gone']:x}")
    guest.command("purge")
    guest.command(f"vfree {areas['freed']:x}")
    return areas


@MACHINES
def test_what_the_kernel_will_say(debug, variables):
    """Each in the handler, before the kernel has said a word."""
    guest = debug(**variables)
    areas = made(guest)
    layout = {r["name"]: int(r["end"], 16) for r in guest.run("layout")[1]}
    window = areas["area"] & -(1 << 39)
    tried = [("r", areas["area"] + 16 * PAGE), ("w", areas["area"] + 16 * PAGE + 4095), ("r", areas["freed"] + 5),
             ("r", areas["gone"] + (1 << 18)), ("w", areas["huge"] - PAGE), ("r", areas["huge"] + (5 << 20)),
             ("r", areas["device"] + 2 * PAGE), ("r", window + 0x2000), ("r", layout["boot stack"] + 1),
             ("r", layout["direct"] + 1), ("r", layout["vmemmap"] + 1), ("w", 0xFFFFFFFF80100000), ("w", 0), ("r", 8),
             ("r", 0x123456789000), ("w", (1 << 64) - 1)]
    seen = set()
    for access, va in tried:
        guest.attach()
        at_handler(guest)
        guest.com1.send(f"fault {access} {va:x}\r")
        assert "trap_stubs" in guest.gdb("continue")
        ours = guest.mm("why")
        guest.gdb("delete")
        guest.detach()
        kernels = fault_report(guest.prompt())
        assert re.match(r"EXCEPTION 14, #PF page fault, error code 0x[0-9a-f]+, on CPU 0: ", ours[0]), ours
        seen.add(kernels[0].split(": ")[-1])
        if access == "w" and "read at" in ours[1]:  # it reads first
            ours[1] = ours[1].replace("read at", "write at").replace("probe_read", "probe_write")
        same(ours[1:], kernels)
    assert seen == {"guard", "freed", "null", "unmapped", "readonly", "stack", "noram"}


@MACHINES
def test_what_it_has_survived(debug, variables):
    guest = debug(**variables)
    areas = made(guest)
    for access, va, why in (("x", areas["area"], "noexec"), ("x", areas["area"] + 16 * PAGE, "guard"), ("r", 0, "null"),
                            ("w", 0xFFFFFFFF80100000, "readonly"), ("r", 0x8000000000000000, "noncanonical"),
                            ("x", 0x8000000000000000, "noncanonical")):
        text, records = guest.run(f"fault {access} {va:x}")
        guest.attach()
        ours = guest.mm("why")
        assert ours[0] == "CPU 0 handles no fault now; the last that it survived, in a probe (peek, poke, fault, tour):"
        guest.gdb("thread 2")
        assert "mm why: CPU 1 has had no page fault so far" in guest.gdb("mm why")
        guest.detach()
        same(ours[1:], fault_report(text))
        assert ours[1].endswith(": " + why)
        assert [(r["t"], r["why"]) for r in records] == [("fault", why)]
        assert ours[1].startswith(f"FAULT: {records[0]['access']} at {records[0]['va']} by ")


@pytest.mark.parametrize("place", ["*((unsigned long)&trap_stubs + 14 * 16)", "*((unsigned long)&trap_stubs + 14 * 16 + 2)",
                                   "*(unsigned long)&trap_entry if *(long *)$rsp == 14",
                                   "*((unsigned long)&trap_entry + 5) if *(long *)($rsp + 5 * 8) == 14",
                                   "*((unsigned long)&trap_entry + 15) if *(long *)($rsp + 11 * 8) == 14",
                                   "*trap if *(long *)($rdi + 15 * 8) == 14", "recover_probe"])
def test_wherever_in_the_handler(debug, place):
    """From the first instruction on: not all registers are pushed, no frame is made, or several are."""
    guest = debug()
    guest.attach()
    guest.gdb(f"hbreak {place}")
    guest.com1.send("fault r ffffc90000002010\r")
    assert "hit Breakpoint" in guest.gdb("continue")
    ours = guest.mm("why")
    assert ours[:2] == ["EXCEPTION 14, #PF page fault, error code 0x0, on CPU 0: read by the kernel; an entry is not present",
                        "FAULT: read at 0xffffc90000002010 by probe_read+0x0: stack"], ours


def test_an_interrupt_is_no_fault(debug):
    guest = debug()
    guest.attach()
    guest.gdb("hbreak interrupt")
    guest.com1.send("x")
    assert "hit Breakpoint" in guest.gdb("continue")
    assert "mm why: CPU 0 has had no page fault so far, and CR2 is 0" in guest.gdb("mm why")


def test_deep_in_a_panic(debug):
    """A double fault, and the frames of its report behind it."""
    guest = debug()
    guest.attach()
    at_handler(guest, DOUBLE_FAULT)
    guest.com1.send("overflow\r")
    guest.gdb("continue")
    first = guest.mm("why")
    guest.gdb("delete", "hbreak stop_others", "continue")
    assert "stop_others" in guest.gdb("backtrace 1") and guest.mm("why") == first
    guest.gdb("delete")
    guest.detach()
    text = guest.finish().text
    assert first[0] == "EXCEPTION 8, #DF double fault, error code 0x0, on CPU 0" and first[0] in text
    assert first[1].endswith(": stack")
    same(first[1:], fault_report(text))


@MACHINES
def test_on_another_cpu(debug, variables):
    """CPU 1 is sent to address 0 as soon as an interrupt wakes it."""
    guest = debug(**variables)
    guest.attach()
    guest.gdb("thread 2", "set $rip = 0")
    at_handler(guest)
    guest.com1.send("purge\r")
    assert "Thread 2 hit" in guest.gdb("continue")
    ours = guest.mm("why")
    assert ours[0].endswith("error code 0x10, on CPU 1: fetch by the kernel; an entry is not present"), ours
    assert ours[1].startswith("FAULT: fetch at 0x0 by ") and ours[1].endswith(": null")
    guest.gdb("thread 1")
    assert "CPU 0 has had no page fault" in guest.gdb("mm why")
    guest.gdb("delete")
    guest.detach()
    same(ours[1:], fault_report(guest.finish().text))


def entry_at(guest, va):
    """gdb's expression for the last entry of the walk to va."""
    step = after(guest.mm(f"walk {va:#x}"), "  PT ")[0]
    return f"*(unsigned long *)({DIRECT[4]:#x} + 0x{OUR_STEP.match(step)[3]})"


@pytest.mark.parametrize("why, before, behind", [
    # bit 51 is above what this CPU's memory can have; the stale entry permits the write when we look
    ("reserved", "|= 1ul << 51", None), ("stale", "&= ~2ul", "|= 2"), ("readonly", "&= ~2ul", None)])
def test_entries_that_gdb_has_changed(debug, why, before, behind):
    guest = debug()
    va = int(guest.run("vmalloc 4K")[1][0]["va"], 16)
    guest.attach()
    entry = entry_at(guest, va)
    guest.gdb(f"set {entry} {before}".replace("|=", f"= {entry} |").replace("&=", f"= {entry} &"))
    at_handler(guest, condition=f"$cr2 == {va:#x}")
    guest.com1.send(f"poke {va:x} 1\r")
    assert "hit Breakpoint" in guest.gdb("continue")
    if behind:
        guest.gdb(f"set {entry} {behind}".replace("|=", f"= {entry} |"))
    ours = guest.mm("why")
    guest.gdb("delete")
    if why == "reserved":  # both the read and the write of poke fault
        assert "a reserved bit is set in an entry" in ours[0]
        guest.gdb(f"set {entry} = {entry} & ~(1ul << 51)")
    guest.detach()
    text = guest.prompt()
    assert ours[1].endswith(f": {why}")
    assert any("gdb reads tables, not TLBs" in line for line in ours) == (why == "stale")
    if why != "reserved":
        same(ours[1:], fault_report(text))


def test_before_mm_init(debug):
    guest = debug(reset=True)
    assert "CPU 0 has had no page fault so far, and CR2 is 0" in guest.gdb("mm why")
    assert "paging is off: the address is its own physical address" in guest.mm("why 0x100000")[0]
    guest.gdb("hbreak mm_init", "continue", "set $rdi = 0x123456789000")
    assert guest.mm("why 0x123456789000")[0] == "0x123456789000: every access would fault: early"
    at_handler(guest)
    guest.gdb("continue")
    ours = guest.mm("why")
    assert ours[1].startswith("FAULT: read at 0x123456789000 by ") and ours[1].endswith(": early"), ours
    guest.gdb("delete")
    guest.detach()
    kernels = fault_report(guest.finish().text)
    assert [ours[1], *after(ours, "  likely")] == kernels


def test_no_page_fault(debug):
    guest = debug()
    guest.attach()
    at_handler(guest, PROTECTION)
    guest.com1.send("fault r 8123456789abcdef\r")
    guest.gdb("continue")
    ours = guest.mm("why")
    assert ours[0] == "EXCEPTION 13, #GP general protection, error code 0x0, on CPU 0"
    assert "  rdi    0x8123456789abcdef is no canonical address" in ours
    guest.gdb("delete")
    at_handler(guest, 6)
    found = guest.gdb("find /b1 &__text_start, &__text_end, 0x0f, 0x0b").split()
    guest.gdb(f"set $rip = {found[0]}", "continue")
    assert guest.mm("why")[0] == "EXCEPTION 6, #UD invalid opcode, error code 0x0, on CPU 0"


# An address

@MACHINES
def test_what_an_access_would_do(debug, variables):
    guest = debug(**variables)
    areas = made(guest)
    guest.attach()
    said = {name: guest.mm(f"why {va}") for name, va in (
        ("area", areas["area"]), ("text", "&kernel_main"), ("constant", "&__rodata_start"), ("null", 16),
        ("guard", areas["area"] + 16 * PAGE), ("odd", "0x8000000000000000"))}
    assert said["area"][0].endswith(": a read is permitted, a write is permitted, a fetch would fault: noexec")
    assert said["text"][0].endswith(": a read is permitted, a write would fault: readonly, a fetch is permitted")
    assert said["constant"][0].endswith(": a read is permitted, a write would fault: readonly, a fetch would fault: noexec")
    assert said["null"][0] == "0x10: every access would fault: null"
    assert said["guard"][0].endswith(": every access would fault: guard")
    assert said["odd"][0].endswith(": every access would fault: noncanonical")
    assert "  where  its byte 65536: in the guard page behind it" in said["guard"]
    assert any("gdb reads tables, not TLBs" in line for line in said["area"])
    entry = entry_at(guest, areas["area"]) if not variables else None
    if entry:
        guest.gdb(f"set {entry} = {entry} & ~(1ul << 63)")
        assert any(line.startswith("  W^X    the page can be written and executed") for line in guest.mm(f"why {areas['area']}"))


@pytest.mark.parametrize("mode, stock", [("lazy", "waits for a flush that nobody has asked for yet"),
                                         ("eager", "flushed: the next of its size may have it")])
def test_freed_and_flushed(debug, mode, stock):
    guest = debug(APPEND=f"tlb={mode}")
    vas = [int(guest.run("vmalloc 12K")[1][0]["va"], 16) for _ in range(4)]
    for va in vas[:3]:
        guest.command(f"vfree {va:x}")
    guest.attach()
    for va in vas[:3]:
        said = guest.mm(f"why {va + PAGE:#x}")
        assert said[0] == f"{va + PAGE:#x}: every access would fault: freed"
        assert any(line.startswith("  stock  CPU 0's list 3, number ") and line.endswith(": " + stock) for line in said), said
        assert said[-1].startswith("  tlb    until that flush") == (mode == "lazy")
    guest.detach()
    guest.command("purge")
    guest.attach()
    assert guest.mm(f"why {vas[1] + PAGE:#x}")[0].endswith(": every access would fault: unmapped")
