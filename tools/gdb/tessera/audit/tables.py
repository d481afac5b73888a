"""Page tables: each is a table's frame, reached once; leaves permit what the address map says, and never W and X."""

import bisect

from .. import paging, words
from ..machine import IMAGE_BASE
from ..paging import A, ADDRESS, D, G, NX, P, PAGE, PCD, PWT, U, W, X
from ..state.dwarf import layout, names

LEAF = P | A | D | G  # pte_make_leaf() sets these in each
LIMIT = 1 << 44  # MEMMAP_LIMIT


def audit(a):
    tree = a.state.tree
    roots(a)
    links(a)
    where = regions(a)
    mapped = {name: [] for _, _, name in [*where, (0, 0, None)]}
    i = 0
    for e in tree.entries:
        while i < len(where) and where[i][1] < e.va:
            i += 1
        leaf(a, e, where[i][2] if i < len(where) and where[i][0] <= e.va else None, mapped)
    for first, end, rights in segments(mapped[None], None, a, ""):
        a.wrong(f"{first:#x}-{end - 1:#x} is mapped, {rights}, and the kernel has nothing there")
    direct(a, mapped["direct map"])
    image(a, mapped["image"])
    vmemmap(a, mapped["struct pages"])
    code_is_not_written(a)
    frames_of_tables(a)
    walk_caches(a)


def roots(a):
    """Each CPU that runs walks the kernel's tables."""
    for cpu, cr3 in a.roots():
        if cr3 & ADDRESS != a.state.tree.root:
            a.wrong(f"CPU {cpu} walks other page tables than the kernel's: CR3 is {cr3:#x}, kernel_pt.root lies at "
                    f"{a.state.tree.root:#x}")


def links(a):
    """Entries that lead to tables."""
    tree = a.state.tree
    by_target = {}
    for link in tree.links:
        by_target.setdefault(link.target, []).append(link.at)
        if link.value & ~(ADDRESS | A | D) != P | W:
            a.wrong(f"the entry at {link.at:#x}, {link.value:#x}, leads to a table but is not just present and writable: "
                    f"{words.flags(link.value, 4)}. All that lies below is restricted, or user's")
        if not a.state.memmap.is_ram(link.target, PAGE):
            a.wrong(f"the entry at {link.at:#x}, {link.value:#x}, leads to a table where there is no RAM")
    by_target.setdefault(tree.root, []).append("CR3")
    for target, froms in by_target.items():
        if len(froms) > 1:
            text = ", ".join(f if isinstance(f, str) else f"{f:#x}" for f in froms)
            a.wrong(f"the page table at {target:#x} is reached {len(froms)} times: by the entries at {text}")


def regions(a):
    """[(first, last, name)] in rising order: where leaves may be."""
    m = a.state.map
    found = [(m.direct, m.direct + LIMIT - 1, "direct map"), (m.vmalloc_start, m.vmalloc_end, "window"),
             (m.vmemmap, m.vmemmap + (LIMIT >> 12) * a.state.frames.size - 1, "struct pages"),
             (m.image, (1 << 64) - 1, "image")]
    if a.shadow():
        found.append((*a.shadow(), "shadow"))
    return sorted(found)


def leaf(a, e, region, mapped):
    """One entry, that of a leaf or a note, by the rules for all. region: which it lies in; None: where nothing is to be."""
    va, level, at, value, _ = e
    if not value & P:
        if region != "window":
            a.wrong(f"{va:#x}: the entry at {at:#x} holds {value:#x}, which is neither a page nor a table")
        return
    if value & W and not value & NX or value & U:
        a.wrong(f"{va:#x}: entry {value:#x} at {at:#x} is writable and executable, or user's: "
                f"{words.entry(value, level)}")
    if paging.reserved_bits(value, level):
        a.wrong(f"{va:#x}: entry {value:#x} at {at:#x} has reserved bits set "
                f"({paging.reserved_bits(value, level):#x}): any access faults")
    elif value & LEAF != LEAF:
        a.wrong(f"{va:#x}: entry {value:#x} at {at:#x} is not marked accessed, dirty and global as each leaf of ours is")
    mapped[region].append(e)


def segments(entries, offset, a, what):
    """Leaves of a region as [(first, end, rights)], neighbours joined; each must lead to va - offset (None: anywhere)."""
    out = []
    for va, level, _, value, _ in entries:
        size = paging.level_bytes(level)
        pa = value & ADDRESS & -size
        if offset is not None and pa != va - offset:
            a.wrong(f"{va:#x} in the {what} leads to {pa:#x}, must to {va - offset:#x}")
        rights = words.may(value) + (words.TYPES[paging.memory_type(value)] if value & (PWT | PCD) else "")
        if out and out[-1][1] == va and out[-1][2] == rights:
            out[-1][1] = va + size
        else:
            out.append([va, va + size, rights])
    return [tuple(one) for one in out]


def overlay(wanted, first, end, rights):
    """Say so of this piece of what is wanted: [(first, end, rights)]."""
    out = []
    for lo, hi, had in wanted:
        out += [(lo, min(hi, first), had)] if lo < first else []
        if lo < end and first < hi:
            out.append((max(lo, first), min(hi, end), rights))
        out += [(max(lo, end), hi, had)] if end < hi else []
    return out


def compare(a, what, wanted, found):
    """Two coverings of a line, each [(first, end, rights)] in rising order: a finding for each piece that differs."""
    cuts = sorted({n for first, end, _ in wanted + found for n in (first, end)})
    pieces = []
    for lo, hi in zip(cuts, cuts[1:]):
        must, has = at(wanted, lo), at(found, lo)
        if must == has:
            continue
        if pieces and pieces[-1][1] == lo and pieces[-1][2:] == [must, has]:
            pieces[-1][1] = hi
        else:
            pieces.append([lo, hi, must, has])
    for lo, hi, must, has in pieces:
        a.wrong(f"{what}: {lo:#x}-{hi - 1:#x} is {has or 'not mapped'}, must be {must or 'not mapped'}")


def at(covering, point):
    """What it says there; None: nothing."""
    i = bisect.bisect_right(covering, point, key=lambda one: one[0]) - 1
    return covering[i][2] if i >= 0 and point < covering[i][1] else None


def sections(a):
    """(name, first, end, rights) of the image."""
    may = {value: {"kernel_ro": "r--", "kernel": "rw-", "kernel_rox": "r-x"}.get(word)
           for value, word in names("enum pgprot", "PAGE_").items()}
    kind = layout("struct image_section", "name", "start", "end", "prot")
    rows = kind.rows(a.state.read(a.state.map.sections, kind.size * a.state.map.nr_sections))
    return [(a.state.text(row.name), row.start, row.end, may[row.prot]) for row in rows]


def image(a, entries):
    found = segments(entries, IMAGE_BASE, a, "image")
    compare(a, "image", [(first, end, rights) for _, first, end, rights in sections(a) if first < end], found)


def direct(a, entries):
    """All RAM, and nothing else, at its offset; read-only what is code anywhere, or constant."""
    offset = a.state.map.direct
    wanted = [(offset + first, offset + end, "rw-") for first, end in a.state.memmap.ram]
    for _, first, end, rights in sections(a):
        if rights != "rw-":
            wanted = overlay(wanted, first - IMAGE_BASE + offset, end - IMAGE_BASE + offset, "r--")
    for first, last in a.state.frames.runs(a.state.frames.of_state("text")):
        wanted = overlay(wanted, (first << 12) + offset, (last + 1 << 12) + offset, "r--")
    compare(a, "direct map", wanted, segments(entries, offset, a, "direct map"))


def vmemmap(a, entries):
    """A struct page for each frame of RAM, in frames that the memory map keeps for them, each once."""
    base, size, wanted = a.state.map.vmemmap, a.state.frames.size, []
    for first, end in a.state.memmap.ram:
        lo, hi = base + (first >> 12) * size & -PAGE, base + (end >> 12) * size + PAGE - 1 & -PAGE
        if wanted and wanted[-1][1] >= lo:
            wanted[-1] = wanted[-1][0], max(hi, wanted[-1][1]), "rw-"
        else:
            wanted.append((lo, hi, "rw-"))
    compare(a, "struct pages", wanted, segments(entries, None, a, "struct pages"))
    used = {}
    for va, level, _, value, _ in entries:
        lo = value & ADDRESS & -paging.level_bytes(level)
        for pa in range(lo, lo + paging.level_bytes(level), PAGE):
            owner = a.state.memmap.find(pa)
            if owner is None or owner.type != "vmemmap":
                a.wrong(f"struct pages: {va + pa - lo:#x} leads to {pa:#x}, which the memory map keeps for "
                        f"{owner.type if owner else 'nobody'}")
            if pa in used:
                a.wrong(f"struct pages: {va + pa - lo:#x} and {used[pa]:#x} lead to the same frame {pa >> 12:#x}")
            used[pa] = va + pa - lo


def code_is_not_written(a):
    """No frame is executable by one address and writable by another."""
    code = sorted((paging.leaf_of(e) for e in a.state.tree.entries if e.value & P and e.rights & X),
                  key=lambda found: found.pa)
    if not code:
        return
    starts = [found.pa for found in code]
    longest = max(found.bytes for found in code)
    lowest, highest = starts[0], starts[-1] + longest
    for e in a.state.tree.entries:
        pa = e.value & ADDRESS
        if not e.value & P or not e.rights & W or pa >= highest or pa + paging.level_bytes(e.level) <= lowest:
            continue
        written = paging.leaf_of(e)
        first = bisect.bisect_right(starts, written.pa - longest)
        last = bisect.bisect_left(starts, written.pa + written.bytes)
        for found in code[first:last]:
            lo, hi = max(found.pa, written.pa), min(found.pa + found.bytes, written.pa + written.bytes)
            if lo < hi and found.va != written.va:
                a.wrong(f"frame {lo >> 12:#x} is executable at {found.va + lo - found.pa:#x}, and writable at "
                        f"{written.va + lo - written.pa:#x}")


def frames_of_tables(a):
    """Each table lies in a frame that is one; each such frame is in use as one."""
    frames, memmap = a.state.frames, a.state.memmap
    places = places_of_tables(a)
    for pa, place in places.items():
        boots = place == "in the tree" and memmap.find(pa) and memmap.find(pa).type == "tables"
        if not boots and not frames.is_head(pa >> 12, "table", 0) and not a.is_shadow_table(pa):
            a.wrong(f"the page table at {pa:#x}, {place}, lies in {a.frame(pa >> 12)}, which is no table's")
    a.lost([pfn for pfn in frames.of_state("table") if pfn << 12 not in places],
           "neither in the tree, nor waiting for a flush, nor under a large leaf")
    early = (pfn for r in memmap.of_type("tables") for pfn in range(r.start >> 12, r.end >> 12))
    a.lost([pfn for pfn in early if pfn << 12 not in places], "page tables made at boot, and no longer in the tree")


def places_of_tables(a):
    """{physical address: where that table is, in words}: in one place."""
    places = {pa: "in the tree" for pa in a.state.tree.reached}
    waiting, wrong = a.state.tree.waiting
    if wrong:
        a.wrong(f"the list of unlinked tables is broken: {wrong}")
    counts = a.state.rows("struct tlb_stats", ("tables_waiting",), "counts", "tlb.c")[0]
    a.equal("unlinked tables that wait for a flush", len(waiting), counts.tables_waiting)
    kept = a.state.window.kept_tables.items() if a.has_window() else ()
    others = [(pa, "waiting for a flush") for pa in waiting] + [
        (pa, f"under the leaf of 2 MiB at {va:#x}") for va, pa in kept]
    for pa, place in others:
        if pa in places:
            a.wrong(f"the page table at {pa:#x} is {place}, and also {places[pa]}")
        places[pa] = place
    return places


def walk_caches(a):
    """What CPUs remember of their walks leads to tables."""
    tree, frames = a.state.tree, a.state.frames
    served = {t.pa: t.va >> 21 for t in tree.tables if t.level == 1}
    for cpu, span, table in tree.walk_cache if a.has_window() else ():
        pa = a.state.linear(table)
        if not frames.is_head(pa >> 12, "table", 0):
            a.wrong(f"CPU {cpu} remembers, for {span << 21:#x}, the page table at {pa:#x}, but that is "
                    f"{a.frame(pa >> 12)}")
        elif pa in served and served[pa] != span:
            a.wrong(f"CPU {cpu} remembers the page table at {pa:#x} for {span << 21:#x}, but it serves "
                    f"{served[pa] << 21:#x}")
