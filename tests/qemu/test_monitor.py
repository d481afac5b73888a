"""The prompt: what a person does there by hand, right and wrong."""

import re

import pytest

CTRL = {"home": "\x1b[H", "left": "\x02", "kill": "\x15", "word": "\x17", "up": "\x1b[A", "down": "\x1b[B",
        "delete": "\x1b[3~", "backspace": "\x7f", "interrupt": "\x03", "tab": "\t"}


def typed(machine, *keys):
    """Press keys, then Enter; what the command printed."""
    return machine.command("".join(CTRL.get(k, k) for k in keys))


def counters(machine):
    """All that counts memory, as records."""
    drop = ("seq", "v")
    return [{k: v for k, v in r.items() if k not in drop}
            for line in ("frames", "areas", "buddy", "slab", "map") for r in machine.run(line)[1]]


def vmalloc(machine, size="64K"):
    """The area's record."""
    return machine.run(f"vmalloc {size}")[1][0]


def areas(machine):
    """Those made by hand: the stacks of other CPUs are not."""
    return [r for r in machine.run("areas")[1] if not r["caller"].startswith("smp_init")]


def test_an_area_typed_by_hand(monitor):
    made = vmalloc(monitor)
    start = int(made["va"], 16)
    assert made["pages"] == 16 and made["kind"] == "vmalloc"
    text, records = monitor.command("areas"), areas(monitor)
    assert records == [made | {"seq": records[0]["seq"]}]
    assert re.search(rf"^0x{start:016x} 0x{start + 0xffff:016x} +16 vmalloc {re.escape(made['caller'])}$", text, re.M)
    text, maps = monitor.run(f"map {made['va']}")
    assert [int(m["va"], 16) for m in maps] == [start + i * 4096 for i in range(16)]
    assert {(m["bytes"], m["prot"]) for m in maps} == {(4096, "rw-")}
    for page in (0, 15):
        last = monitor.command(f"walk {maps[page]['va']}").splitlines()[-1]
        assert last.endswith(f"4 KiB page {maps[page]['pa']} rw-"), last
        assert maps[page]["va"] in [a["va"] for a in monitor.run(f"alias {maps[page]['pa']}")[1]]
    assert "guard: vmalloc, 16 pages" in monitor.command(f"walk {start - 4096:x}")
    assert "sound: nothing wrong found" in monitor.command("check")
    # QEMU's own translation of the same page
    assert maps[7]["pa"] in monitor.hmp(f"gva2gpa {maps[7]['va']}")


def test_vfree_gives_everything_back(monitor):
    monitor.command("purge")
    before = [r for r in counters(monitor) if r["t"] in ("frames", "area", "map")]
    made = [vmalloc(monitor, size)["va"] for size in ("1", "4K", "5M", "64K")]
    assert len(areas(monitor)) == 4
    for va in made:
        assert monitor.command(f"vfree {va}") == ""
    assert {a["kind"] for a in areas(monitor)} <= {"freed"}
    monitor.command("purge")
    after = [r for r in counters(monitor) if r["t"] in ("frames", "area", "map")]
    assert after == before


def test_poke_is_seen_through_the_frame(monitor):
    va = vmalloc(monitor)["va"]
    pa = monitor.run(f"map {va}")[1][3]["pa"]
    monitor.command(f"poke {int(va, 16) + 3 * 4096 + 5:x} a7")
    monitor.readers()
    assert monitor.ram.bytes(int(pa, 16) + 5, 1) == b"\xa7"
    direct = next(a["va"] for a in monitor.run(f"alias {pa}")[1] if a["va"] < va)
    assert re.search(r"( \w\w){5} a7", monitor.command(f"peek {direct} 16"))


# What is typed (VA: an area of 16 pages; FREED: one given back; KVA: from kmalloc), what the fault is.
FAULTS = [
    ("peek 0", "null", "read"),
    ("poke 8 1", "null", "write"),
    ("peek {va:x}-1", "guard", "read"),
    ("fault w {va:x}-1", "guard", "write"),
    ("peek {va:x}+10000", "guard", "read"),
    ("poke {va:x}+10000 1", "guard", "write"),
    ("fault x {va:x}", "noexec", "fetch"),
    ("fault x 0", "null", "fetch"),
    ("fault w {text:x}", "readonly", "write"),
    ("poke {text:x} cc", "readonly", "write"),
    ("peek {freed:x}", "freed", "read"),
    ("peek 8000000000000000", "noncanonical", "read"),
    ("fault w dead000000000000", "noncanonical", "write"),
    ("peek ffffe8fffffff000", "unmapped", "read"),
    ("peek ffffffffffffffff", "unmapped", "read"),
]


def test_faults_are_explained_and_survived(boot):
    machine = boot(CPUS=1)
    machine.prompt()
    vmalloc(machine, "4K")  # or the area before, and its guard's neighbour, would be the kernel's
    layout = {r["name"]: r for r in machine.run("layout")[1]}
    places = {"va": int(vmalloc(machine)["va"], 16), "freed": int(vmalloc(machine, "1M")["va"], 16),
              "text": int(layout["text"]["start"], 16)}
    machine.command(f"vfree {places['freed']:x}")
    before = counters(machine)
    for line, why, access in FAULTS:
        line = re.sub(r"(\w+)([+-])(\w+)", lambda m: f"{int(m[1], 16) + int(m[2] + m[3], 16):x}",
                      line.format(**places))
        text, records = machine.run(line)
        assert [(r["t"], r["why"], r["access"]) for r in records] == [("fault", why, access)], f"{line}: {text}"
        assert "likely" in text and "next" in text
        if why in ("guard", "freed"):
            assert records[0]["area"] in text and "asked for by cmd_vmalloc+0x" in text
        if why != "noncanonical":
            assert re.search(r"^  PML4  \[", text, re.M), "no walk"
    assert counters(machine) == before
    assert "sound: nothing wrong found" in machine.command("check")


def test_use_after_free_faults_at_once_with_eager_flushes(boot):
    machine = boot(APPEND="tlb=eager")
    machine.prompt()
    va = vmalloc(machine)["va"]
    machine.command(f"poke {va} 1")
    machine.command(f"vfree {va}")
    assert [r["why"] for r in machine.run(f"peek {va}")[1]] == ["freed"]


# (typed, a part of the answer). None of it may change anything.
HUGE, OVER = "18446744073709551615", "18446744073709551616"
BAD = [
    ("frobnicate", "there is no command 'frobnicate'"),
    ("vmaloc 64K", "did you mean vmalloc"),
    ("chek", "did you mean check"),
    ("ares", "did you mean areas"),
    (" ".join("abcdefghijklmnopqrstuvwxyzabcdefgh"), "there is no command 'a'"),
    ("", ""),
    ("    ", ""),
    ("\x00\x1f\x0e", ""),
    ("vmalloc", "usage"),
    ("vmalloc 64K 64K", "usage"),
    ("vmalloc 0", "refused"),
    ("vmalloc -1", "'-1' is no size"),
    ("vmalloc 64Q", "'64Q' is no size"),
    ("vmalloc 64KK", "is no size"),
    ("vmalloc 0x", "is no size"),
    ("vmalloc K", "is no size"),
    ("vmalloc 4.5K", "is no size"),
    ("vmalloc 1T", "refused"),
    ("vmalloc 33T", "refused"),
    (f"vmalloc {HUGE}", "refused"),
    (f"vmalloc {OVER}", "is no size"),
    ("vmalloc 17592186044416G", "is no size"),
    ("vmap", "usage"),
    ("vmap 0", ""),
    ("vmap ffffffffffffffff", ""),
    ("vmap {va:x}", ""),
    ("vmap xyzzy", "is no "),
    ("vfree", "usage"),
    ("vfree xyzzy", "is no "),
    ("vfree 12345678901234567", "is no "),
    ("vfree 1", ""),
    ("vfree {va:x}+1000", "is not the start"),
    ("vfree {va:x}+1", "start"),
    ("vfree {va:x}-1000", "start"),
    ("vfree {kva:x}", ""),
    ("vfree ffffffffffffffff", ""),
    ("vfree {freed:x}", "vfree: "),
    ("kmalloc", "usage"),
    ("kmalloc 0", "refused"),
    ("kmalloc -4", "is no size"),
    ("kmalloc 8M", "refused"),
    (f"kmalloc {HUGE}", "refused"),
    ("kfree", "usage"),
    ("kfree xyzzy", "is no "),
    ("kfree 1", ""),
    ("kfree {va:x}", ""),
    ("kfree {kva:x}+8", ""),
    ("kfree {kfreed:x}", ""),
    ("kfree ffffffffffffffff", ""),
    ("map zz", "is no "),
    ("map 2000 1000", ""),
    ("map 1 2 3", "usage"),
    ("walk", "usage"),
    ("walk nowhere", "is no "),
    ("alias", "usage"),
    ("alias zz", "is no "),
    ("peek", "usage"),
    ("peek zz", "is no "),
    ("peek {va:x} -1", "is no size"),
    ("poke", "usage"),
    ("poke {va:x}", "usage"),
    ("poke {va:x} 100", "more than a byte"),
    ("poke {va:x} zz", "is no "),
    ("fault", "usage"),
    ("fault q 0", "is none of r"),
    ("fault rw 0", "is none of r"),
    ("fault r", "usage"),
    ("areas 1", "usage"),
    ("check twice", "usage"),
    ("exit now", "usage"),
    ("reboot now", "usage"),
    ("test no-such-test-anywhere", "no"),
    ("x" * 69, "no command"),
    ("x" * 70, "less than 70 characters"),
    ("x" * 300, "less than 70 characters"),
]


def test_bad_input_changes_nothing(monitor):
    va, freed = (int(vmalloc(monitor, size)["va"], 16) for size in ("64K", "128K"))
    kva, kfreed = (int(re.search(r"0x([0-9a-f]+)", monitor.command(f"kmalloc {size}"))[1], 16) for size in (100, 1000))
    monitor.command(f"vfree {freed:x}")
    monitor.command(f"kfree {kfreed:x}")
    monitor.command("vmalloc 1T")  # which flushes, and gives empty slabs back, before it is refused
    before = counters(monitor)
    for line, part in BAD:
        for name, value in (("va", va), ("freed", freed), ("kva", kva), ("kfreed", kfreed)):
            line = re.sub(rf"\{{{name}:x\}}([+-]\w+)?", lambda m: f"{value + int(m[1] or '0', 16):x}", line)
        text = monitor.command(line)
        assert part in text, f"{line!r} is answered with {text!r}"
        assert counters(monitor) == before, f"{line!r} changed something"
    assert "sound: nothing wrong found" in monitor.command("check")
    assert monitor.command(f"vfree {va:x}") == "", "the area was lost on the way"
    assert monitor.command(f"kfree {kva:x}") == ""


def test_double_vfree_is_caught(monitor):
    va = vmalloc(monitor)["va"]
    assert monitor.command(f"vfree {va}") == ""
    before = counters(monitor)
    text = monitor.command(f"vfree {va}")
    assert "freed already" in text and va in text and "cmd_vmalloc+0x" in text
    assert counters(monitor) == before
    monitor.command("purge")
    assert va in monitor.command(f"vfree {va}"), "after the flush, too"
    assert "sound: nothing wrong found" in monitor.command("check")


def test_line_editing(monitor):
    expected = monitor.command("frames")
    assert typed(monitor, "framesx", "backspace") == expected
    assert typed(monitor, "rames", "home", "f") == expected
    assert typed(monitor, "frmes", "left", "left", "left", "a") == expected
    assert typed(monitor, "fraames", "left", "left", "left", "left", "delete") == expected
    assert typed(monitor, "rubbish", "kill", "frames") == expected
    assert typed(monitor, "frames rubbish", "word") == expected
    monitor.com1.send("rubbish" + CTRL["interrupt"])
    assert "rubbish^C" in monitor.prompt()
    assert typed(monitor, "frames") == expected
    assert typed(monitor, "\x1b[99;99Z\x1bOQ\x1b[5~", "frames") == expected, "keys that mean nothing"
    assert typed(monitor, "backspace", "left", "delete", "frames") == expected, "nothing to take away"


def test_history(monitor):
    frames, buddy = monitor.command("frames"), monitor.command("buddy")
    assert typed(monitor, "up") == buddy
    assert typed(monitor, "up", "up") == frames
    assert typed(monitor, "up", "up", "down") == frames, "frames, buddy, frames: up twice and down once"
    assert typed(monitor, *["up"] * 50) == frames, "it ends at the oldest"
    assert typed(monitor, "buddy", "up", "down") == buddy, "the line being typed is kept"


def test_completion(monitor):
    assert typed(monitor, "fra", "tab") == monitor.command("frames")
    monitor.com1.send("vm\t")
    assert re.search("vmap .*vmalloc|vmalloc .*vmap", monitor.prompt()), "more than one: they are listed"
    assert "1 pages" in monitor.command("alloc 4K"), "and what was typed is kept"
    assert "there is no command 'zzz'" in typed(monitor, "zzz", "tab")


def test_help_lists_every_command(monitor):
    names = re.findall(r"^(\w+) .*\w", monitor.command("help"), re.M)
    for name in ("help tour mem buddy frames slab layout areas map walk alias vmalloc vmap vfree kmalloc kfree "
                 "peek poke fault check test reboot exit").split():
        assert name in names
    assert names[:-1] == sorted(names[:-1]), "in alphabetical order, then the note on SIZE"
