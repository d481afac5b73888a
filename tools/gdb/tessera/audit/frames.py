"""Frames: each is in exactly one block, each block in one state, each free block in one place."""

from ..state.frames import MAX_ORDER

OWNED = "alloc", "table", "kmalloc", "vmalloc", "text"  # states whose struct page says who asked
SINGLE = "table", "slab", "vmalloc", "text"  # states of single frames only


def audit(a):
    frames = a.state.frames
    for first, last in frames.unmapped:
        a.wrong(f"the struct pages of frames {first:#x}-{last:#x} are not mapped")
    for r in a.state.memmap.ranges:
        if r.type in a.state.memmap.ram_types:
            (usable if r.type == "usable" else reserved)(a, r)
    struct_pages(a)
    free_lists(a)
    magazines(a)
    sums(a)


def reserved(a, r):
    """RAM that was never ours to give."""
    frames = a.state.frames
    stretch, i = frames.find(r.start >> 12)
    states = stretch.states[i:i + (r.end - r.start >> 12)]
    code = frames.code["reserved"]
    if states.count(code) == len(states):
        return
    others = [n for n, state in enumerate(states) if state != code]
    for n in others:
        pfn = stretch.first + i + n
        a.wrong(f"{a.frame(pfn)} is not reserved, but the memory map keeps it for {r.type}")


def usable(a, r):
    """RAM in blocks, one behind the other: head, then its tails."""
    frames = a.state.frames
    stretch, i = frames.find(r.start >> 12)
    states, orders, first = stretch.states, stretch.orders, stretch.first
    start, end, free = i, i + (r.end - r.start >> 12), frames.code["free"]
    while i < end:
        state, count = states[i], 1 << orders[i]
        if state == 0:
            i = tails_of_nothing(a, stretch, i, end)
            continue
        if orders[i] > MAX_ORDER or first + i & count - 1 or i + count > end or \
                states.count(0, i + 1, i + count) != count - 1:
            i = bad_block(a, stretch, i, end)
            continue
        if state == free:
            buddy = (first + i ^ count) - first
            if orders[i] < MAX_ORDER and i < buddy < end and start <= i and states[buddy] == free and \
                    orders[buddy] == orders[i]:
                a.wrong(f"free blocks {first + i:#x} and {first + buddy:#x} of 2^{orders[i]} frames are buddies: "
                        "freeing the second should have merged them")
        elif state not in frames.names or state == frames.code["reserved"] or \
                (count > 1 and frames.names[state] in SINGLE):
            a.wrong(f"{a.frame(first + i)} of usable RAM has state {state} and order {orders[i]}, which cannot be")
        i += count


def tails_of_nothing(a, stretch, i, end):
    """Frames that say "the block's first frame knows", with no block before them that reaches so far."""
    last = i
    while last < end and stretch.states[last] == 0:
        last += 1
    a.wrong(f"frames {stretch.first + i:#x}-{stretch.first + last - 1:#x} are in no block: tails, but the block before "
            "them ends earlier. Nobody can be given them")
    return last


def bad_block(a, stretch, i, end):
    """Say what is wrong with the block that begins here. Where to go on."""
    pfn, order = stretch.first + i, stretch.orders[i]
    count = 1 << min(order, MAX_ORDER)
    if order > MAX_ORDER:
        a.wrong(f"{a.frame(pfn)} has order {order}: the largest block has {MAX_ORDER}")
        return i + 1
    if pfn & count - 1:
        a.wrong(f"{a.frame(pfn)} begins a block of 2^{order} frames, but is not aligned to that")
    elif i + count > end:
        a.wrong(f"{a.frame(pfn)} begins a block of 2^{order} frames, but its range of RAM ends at frame "
                f"{stretch.first + end:#x}")
    inner = next((n for n in range(i + 1, min(i + count, end)) if stretch.states[n]), None)
    if inner is not None:
        a.wrong(f"{a.frame(stretch.first + inner)} lies inside the block {pfn:#x} of 2^{order} frames "
                f"({a.state.frames.state_of(pfn)}): it has two owners")
        return inner
    return min(i + count, end)


def struct_pages(a):
    """What the rest of a struct page says."""
    frames = a.state.frames
    slab = frames.code["slab"]
    text_end = a.state.linker("__text_end") - a.state.map.image
    owned = bytes(n for n in range(256) if frames.names.get(n) in OWNED)
    for stretch in frames.stretches:
        high = stretch.data[frames.flags_at + 1::frames.size]  # the upper byte of flags
        if high.count(0) != len(high):
            for i in (i for i, byte in enumerate(high) if byte >> frames.cache_shift - 8 and stretch.states[i] != slab):
                a.wrong(f"{a.frame(stretch.first + i)} names cache {frames.cache_of(stretch.page(i))}, but is no slab: "
                        "kfree would put it into that cache's magazine")
        for i, (state, owner) in enumerate(zip(stretch.states, stretch.owners)):
            if owner >= text_end and state in owned:
                a.wrong(f"frame {stretch.first + i:#x} ({frames.names[state]}): who asked for it is {owner:#x}, which is "
                        "no code")


def free_lists(a):
    """Each list: links, ends, states; and every free block is in one."""
    frames, found = a.state.frames, {}
    for order, head in enumerate(frames.heads):
        before = 0
        for pfn, page in frames.chain(head):
            where = f"free list of order {order}"
            if pfn is None:
                a.wrong(f"{where}: behind block {before:#x} {page}")
                break
            if not frames.is_head(pfn, "free", order):
                a.wrong(f"{where}: {a.frame(pfn)}, order {page.order}, hangs in it and is no free block of 2^{order}")
            if page.prev != before:
                a.wrong(f"{where}: block {pfn:#x} says that {page.prev:#x} comes before it, but {before:#x} does")
            if pfn in found:
                a.wrong(f"{where}: block {pfn:#x} hangs in the list of order {found[pfn]}, too")
            found[pfn], before = order, pfn
        else:
            if head.last != before:
                a.wrong(f"free list of order {order}: its last block is {before:#x}, but the list says {head.last:#x}")
    a.lost([pfn for pfn in frames.of_state("free") if pfn not in found], "in no free list")
    a.equal("free frames in the lists", sum(1 << order for order in found.values()),
            a.state.number("listed", "page_alloc.c"))


def magazines(a):
    """Blocks at hand: whose CPU, which order; and every block of state stock is in one."""
    frames, found = a.state.frames, {}
    for cpu, order, magazine in frames.block_magazines():
        where = f"magazine of CPU {cpu} for order {order}"
        if magazine.nr > max(magazine.most, 1):
            a.wrong(f"{where}: {magazine.nr} blocks are in it, of at most {magazine.most}")
        for item in magazine.items:
            pfn = frames.pfn_of(item)
            if (item - a.state.map.vmemmap) % frames.size or frames.page(pfn) is None:
                a.wrong(f"{where}: {item:#x} is no struct page")
                continue
            if not frames.is_head(pfn, "stock", order):
                a.wrong(f"{where}: {a.frame(pfn)}, order {frames.page(pfn).order}, is in it and is no block in stock of "
                        "that order")
            if pfn in found:
                a.wrong(f"{where}: block {pfn:#x} is also in CPU {found[pfn]}'s, or twice here: two will be given it")
            found[pfn] = cpu
    a.lost([pfn for pfn in frames.of_state("stock") if pfn not in found], "in no CPU's magazine")


def sums(a):
    """Frames, and the largest range of RAM, which kfree knows by heart."""
    state, ranges = a.state, a.state.memmap.of_type("usable")
    usable = sum(r.end - r.start >> 12 for r in ranges)
    a.equal("frames of usable RAM", usable, state.number("nr_frames"))
    longest = max((r.end - r.start >> 12 for r in ranges), default=0)
    first, count = state.frames.pfn_of(state.number("main_first")), state.number("main_pages")
    if count != longest or not any(r.start >> 12 == first and r.end - r.start >> 12 == count for r in ranges):
        a.wrong(f"main_first and main_pages say that {count} frames from {first:#x} are the largest range of RAM; "
                f"the largest has {longest}")
