"""mm watch: stop at each store that changes how a page is mapped.

An address has four or five entries on the way to its frame, and which they are changes with those above: a
table is made or given back, a large page split. So one memory cell is not enough to watch. gdb can watch an
expression, and then watches each cell that it read for the value, anew after each change. Ours reads what a
walk reads, at each level only if the level above leads there: its value is the list of the entries passed. It
is defined as a macro named mapping_of_0x…, since that is what gdb will print.

gdb stops when one of these entries has changed. Whether the mapping has, we find out by walking the tables,
physically, before and after.
"""

import gdb

from . import machine, paging, words
from .command import Command, write
from .machine import Problem, phys

MAX_PASSED = 8  # changes that were passed over and are told at the next stop
CALLERS = 6
TOLD = "  {:<4} {:<4} [{:>3}]  0x{:011x}  0x{:016x}  {}"  # was/is, then as in `mm walk`


class Watch(Command):
    """stop when the mapping of a page changes, and say how

mm watch [-a | -d] [VA]

    mm watch VA        watch the page at VA
    mm watch -a VA     the same, and stop also at changes that map nothing, before or after
    mm watch           list what is watched, and how often it stopped
    mm watch -d VA     watch this page no longer; without VA, none

The machine stops behind the store, on the CPU that made it. What was and what is are told in words, from the first
level on that differs. The mapping is what a walk to VA finds: nothing or a frame, in a page of which size, what all
levels together permit, the memory type. Each store that changes that is a stop, at whichever level: vmalloc_huge puts
512 entries of 4 KiB and then a leaf of 2 MiB over them, which are two stops for every page in it.

Other stores to these entries are passed over, counted, and told at the next stop. Where nothing is mapped the kernel
keeps notes (an area's descriptor in its guard page, links between freed areas), and above it tables come and go. -a
stops at these, too.

Each is a watchpoint of gdb's own: `info breakpoints`, `disable`, `delete`, `ignore` know it. What it cannot see:
- The CPU itself marks entries as accessed and dirty. That is no store, and QEMU tells no watchpoint of it.
- Stores by other addresses than the direct map. The kernel has none.
- Another CR3. Before mm_init() has switched to the kernel's tables, those of boot are watched.
QEMU's TCG watches as many entries as you like; with KVM the CPU has four places for all watches, which is one page on 4
levels, and none on 5."""

    name, usage = "watch", "[-a | -d] [VA]"

    def run(self, text):
        option, _, rest = text.partition(" ")
        text = rest.strip() if option in ("-a", "-d") else text
        page = self.number(text, "an address") & -paging.PAGE if text or option == "-a" else None
        if option == "-d":
            end(page)
        elif page is None:
            write(listing())
        else:
            begin(page, option == "-a")


Watch()


def begin(page, everything):
    if page in (w.page for w in Watched.all()):
        raise Problem(f"mm watch: the page at {page:#x} is watched already: `mm watch` lists, `mm watch -d {page:#x}` ends it")
    root, levels = machine.tables()
    if gdb.selected_inferior().connection.type == "core":
        raise Problem("mm watch: a core is a machine that has stopped for good: nothing in it changes any more")
    if not paging.canonical(page, levels):
        raise Problem(f"mm watch: {page:#x} is not canonical on {levels} levels: no entry can ever map it")
    watch = Watched(page, root, levels, everything)
    if watch.type != gdb.BP_HARDWARE_WATCHPOINT:
        watch.delete()
        raise Problem("mm watch: without hardware watchpoints gdb would have to stop after every instruction\n"
                      "  see `show can-use-hw-watchpoints` and `show remote hardware-watchpoint-limit`")
    write([f"watching the page at {page:#x}, now: {state(watch.steps)}"])
    if root != machine.linear(int(machine.variable("kernel_pt")["root"]) & paging.TOP):
        write(["  in boot's tables: mm_init() makes others. Ask again when mmu_set_root() has returned"])


def end(page):
    """page None: all."""
    gone = [w for w in Watched.all() if page in (None, w.page)]
    if not gone:
        raise Problem("mm watch: no page is watched" if page is None else
                      f"mm watch: the page at {page:#x} is not watched; `mm watch` lists those that are")
    for watch in gone:
        watch.delete()


def listing():
    watched = Watched.all()
    if not watched:
        return ["no page is watched: `mm watch VA` begins"]
    return ["number page               stops passed now"] + [
        f"{w.number:<6} 0x{w.page:016x} {w.hit_count:>5} {w.passed:>6} {state(w.walk())}" for w in watched]


class Watched(gdb.Breakpoint):
    """A watchpoint on all entries of the walk to one page."""

    def __init__(self, page, root, levels, everything):
        self.page, self.root, self.levels, self.everything = page, root, levels, everything
        self.passed, self.told = 0, []  # changes passed over: how many; the last ones, since the last stop
        self.steps = self.walk()
        super().__init__(define(page, root, levels), gdb.BP_WATCHPOINT, gdb.WP_WRITE)

    @staticmethod
    def all():
        return [b for b in gdb.breakpoints() if isinstance(b, Watched)]

    def walk(self):
        return list(paging.walk(phys, self.root, self.levels, self.page))

    def stop(self):
        """gdb asks, since an entry has changed: is it one to stop at?"""
        machine.forget()
        was, self.steps = self.steps, self.walk()
        if was == self.steps:  # it had not been able to read one, or was not now
            return False
        if not self.everything and mapping(self.page, was) == mapping(self.page, self.steps):
            self.passed += 1
            self.told = self.told[1 - MAX_PASSED:] + [f"  passed over: {change(was, self.steps)}, in {where(1)}"]
            return False
        write(report(self.page, was, self.steps) + self.told)
        self.told = []
        return True


gdb.events.exited.connect(lambda _: [w.delete() for w in Watched.all()])


def define(page, root, levels):
    """Macros for the entries that a walk passes; the name of the one that lists them."""
    name, direct = f"mapping_of_{page:#x}", machine.DIRECT[levels]
    for level in range(levels, 0, -1):
        offset, above = 8 * paging.index_of(page, level), f"(unsigned long){name}_{level + 1}"
        leads_on = f"({above} & {paging.P if level > 2 else paging.P | paging.PS:#x}) == {paging.P}"
        entry = f"*(void **){direct + root + offset:#x}" if level == levels else \
            f"({leads_on} ? *(void **)({direct + offset:#x} + ({above} & {paging.ADDRESS:#x})) : (void *)0)"
        gdb.execute(f"macro define {name}_{level} {entry}")
    gdb.execute(f"macro define {name} {{{', '.join(f'{name}_{level}' for level in range(levels, 0, -1))}}}")
    return name


# In words

def mapping(page, steps):
    """What a walk to the page finds: (frame, size, rights, memory type); None: nothing, an access faults."""
    last = steps[-1]
    if not last.value & paging.P or paging.reserved_bits(last.value, last.level):
        return None
    size = paging.level_bytes(last.level)
    return (paging.address(last.value, last.level) + page % size, size, paging.rights_along(steps),
            paging.memory_type(last.value))


def state(steps):
    """The same in words."""
    last = steps[-1]
    return f"{paging.NAMES[last.level]} [{last.index}] {words.entry(last.value, last.level)}"


def first_change(was, now):
    """Which step is the first that differs: the entry that was stored to."""
    return next(i for i, (old, new) in enumerate(zip(was, now)) if old != new)


def change(was, now):
    """It alone, on one line."""
    old, new = was[first_change(was, now)], now[first_change(was, now)]
    return f"{state([old])} => {words.entry(new.value, new.level)}"


def report(page, was, now):
    """The lines that a stop prints."""
    first = first_change(was, now)
    lines = [f"mm watch {page:#x}: {verdict(page, was, now)}"]
    for head, steps in ("was", was), ("is", now):
        for step in steps[first:]:
            lines.append(TOLD.format(head, paging.NAMES[step.level], step.index, step.at, step.value,
                                     words.entry(step.value, step.level)))
            head = ""
    return lines + [f"  by   CPU {machine.cpu()}, {where(CALLERS)}"]


def verdict(page, was, now):
    """What became of the mapping."""
    old, new = mapping(page, was), mapping(page, now)
    if old is None or new is None:
        return ("not mapped, neither before nor after" if old == new else
                f"mapped now, to {new[0]:#x}, {paging.RIGHTS[new[2]]}" if new else
                "not mapped any longer; a TLB may know the old frame until the flush")
    parts = [f"frame {new[0]:#x}, was {old[0]:#x}"] if new[0] != old[0] else []
    parts += [f"{paging.RIGHTS[new[2]]}, was {paging.RIGHTS[old[2]]}"] if new[2] != old[2] else []
    parts += [f"in a page of {words.size(new[1])}, was {words.size(old[1])}"] if new[1] != old[1] else []
    parts += [f"memory type{words.TYPES[new[3]] or ' WB'}, was{words.TYPES[old[3]] or ' WB'}"] if new[3] != old[3] else []
    same = "; the same frame" if parts and new[0] == old[0] else ""
    late = "; a TLB may go by the old entry until the flush" if new[0] != old[0] or new[2] != old[2] else ""
    return "; ".join(parts) + same + late if parts else "mapped as before"


def where(count):
    """The functions that the CPU is in, innermost first."""
    frame, names = gdb.newest_frame(), []
    while frame and len(names) < count:
        names.append(frame.name() or f"{frame.pc():#x}")
        frame = frame.older()
    return " < ".join(names)
