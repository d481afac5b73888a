"""What only a machine shows of vmalloc's family: a stack that overflows, and areas as Linux lists them."""

import re


def test_a_stack_from_vmalloc_overflows(run):
    """Its guard ends it; the message comes on the double fault's stack, and names the area."""
    text, records, status = run("overflow", CPUS=2)
    assert status == 1, text
    fault, panic = [r for r in records if r["t"] in ("fault", "panic")]
    assert fault["why"] == "stack" and fault["access"] == "write" and "double fault" in panic["what"]
    assert re.search("EXCEPTION 8, #DF double fault, .*on CPU 0", text), text
    assert "the CPU could not push to the stack" in text and "in the guard page before it" in text
    assert re.search(rf"area   {fault['area']}-0x[0-9a-f]+, 4 pages\n +stack, asked for by cmd_overflow", text), text
    assert text.count(" recurse+0x") > 10, "the backtrace goes on in the stack that is full"


def test_vmallocinfo(monitor):
    areas = {kind: monitor.run(line)[1][0] for kind, line in [
        ("vmalloc", "vmalloc 64K"), ("huge", "huge 4M"), ("ioremap", "ioremap fee00020 0x1000"), ("freed", "vmalloc 8K")]}
    monitor.command(f"vfree {areas['freed']['va']}")
    text, records = monitor.run("vmallocinfo")
    rows = {r["va"]: r for r in records}
    plain, huge, device, freed = (rows[areas[kind]["va"]] for kind in areas)
    assert plain["kind"] == "vmalloc" and plain["pages"] == 16 and plain["bytes"] == "0x10000" and not plain["huge"]
    assert huge["kind"] == "vmalloc" and huge["huge"] == 2 and huge["pages"] == 1024
    assert device["kind"] == "ioremap" and device["phys"] == "0xfee00000" and device["pages"] == 2
    assert freed["kind"] == "unpurged" and freed["caller"].startswith("cmd_vmalloc+")
    end = int(device["va"], 16) + 0x1fff
    assert re.search(rf"^{device['va']}-0x{end:x} +8192 cmd_ioremap\+0x\w+ pages=2 phys=0xfee00000 ioremap\r?$", text, re.M)
    used = sum(r["pages"] for r in records if r["kind"] != "unpurged")
    assert re.search(rf"^VmallocUsed: +{used * 4} kB\r?$", text, re.M) and "VmallocTotal:    34359738368 kB" in text


def test_a_device_is_shown_as_not_cached(monitor):
    va = monitor.run("ioremap fee00030 4")[1][0]["va"]
    assert re.search(rf"^{va} 0x000fee00000 4 KiB rw- .* {va} \+0 UC\r?$", monitor.command(f"map {va}"), re.M)
    assert re.search(r"4 KiB page 0xfee00000 rw- UC\r?$", monitor.command(f"walk {va}"), re.M)
    assert "refused" in monitor.command("ioremap 100000 0x1000")
    assert monitor.command(f"vfree {va}") == ""
    assert "sound: nothing wrong found" in monitor.command("check")
