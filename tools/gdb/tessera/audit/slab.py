"""Small objects: each is in use, free in its slab, or in one magazine; bits, marks, lists and counters agree."""

from ..paging import PAGE


def audit(a):
    slabs = a.state.slabs
    magazines(a)
    for pfn, slab in slabs.slabs.items():
        if slab is None:
            page = a.state.frames.page(pfn)
            a.wrong(f"frame {pfn:#x} is a slab of cache {a.state.frames.cache_of(page)}, and there is no such cache")
        else:
            objects(a, pfn, slab)
    listed = {}
    for cache in slabs.caches.values():
        partial(a, cache, listed)
    for cache in slabs.caches.values():
        counters(a, cache, listed)


def magazines(a):
    """What is in them begins where an object of that cache does, and is in no other."""
    slabs = a.state.slabs
    for magazine in slabs.magazines():
        cache = slabs.caches[magazine.number]
        if (magazine.most, magazine.scale, magazine.limit) != (cache.most, cache.scale, cache.limit) or \
                magazine.nr > magazine.most:
            a.wrong(f"magazine of CPU {magazine.cpu} for {cache.name}: nr {magazine.nr}, most {magazine.most}, scale "
                    f"{magazine.scale:#x}, limit {magazine.limit:#x}; an empty one has most {cache.most}, scale "
                    f"{cache.scale:#x}, limit {cache.limit:#x}")
    for item, holders in slabs.at_hand.items():
        cache = slabs.caches[holders[0].number]
        pa = item - a.state.map.direct
        slab = slabs.slabs.get(pa >> 12)
        index, inside = divmod(pa % PAGE, cache.bytes)
        where = " and ".join(f"CPU {m.cpu}'s for {slabs.caches[m.number].name}" for m in holders)
        if slab is None or slab.cache is not cache or inside or index >= cache.per_slab:
            a.wrong(f"{item:#x} is in the magazine of {where}, and no object of that cache: {a.frame(pa >> 12)}")
        elif len(holders) > 1:
            a.wrong(f"object {index} of {cache.name} at {item:#x} is in two places: the magazines of {where}. "
                    "Two will be given it")


def objects(a, pfn, slab):
    """A slab's bits against its count, its marks and the magazines."""
    slabs, cache = a.state.slabs, slab.cache
    free = bin(slab.free).count("1")
    if a.state.frames.page(pfn).order:
        a.wrong(f"slab {pfn:#x} of {cache.name} is a block of order {a.state.frames.page(pfn).order}, must be a frame")
    if free + slab.used != cache.per_slab:
        a.wrong(f"slab {pfn:#x} of {cache.name}: {slab.used} objects in use and {free} free of {cache.per_slab}")
    if not slab.used:
        a.wrong(f"slab {pfn:#x} of {cache.name} is empty: it was to be freed at once")
    va, step = a.state.map.direct + (pfn << 12), cache.bytes // 8
    first_words = memoryview(a.state.phys(pfn << 12, PAGE)).cast("Q")[:cache.per_slab * step:step].tolist()
    for index, word in enumerate(first_words):
        at = va + index * cache.bytes
        marked, is_free = word == slabs.mark(at), slab.free >> index & 1
        if is_free and at in slabs.at_hand:
            a.wrong(f"object {index} of {cache.name} at {at:#x} is free in its slab and in the magazine of CPU "
                    f"{slabs.at_hand[at][0].cpu}, too: two will be given it")
        elif (is_free or at in slabs.at_hand) and not marked:
            a.wrong(f"object {index} of {cache.name} at {at:#x} is free, but its mark was overwritten: it holds "
                    f"{word:#x}, must {slabs.mark(at):#x}. Somebody wrote through a stale pointer")
        elif marked and not is_free and at not in slabs.at_hand:
            a.wrong(f"lost: object {index} of {cache.name} at {at:#x} is marked free, but in no magazine and not free "
                    f"in its slab {pfn:#x}")


def partial(a, cache, listed):
    """The slabs with both: links, and who belongs there."""
    slabs, before = a.state.slabs, 0
    for pfn, page in a.state.frames.chain(cache):
        if pfn is None:
            a.wrong(f"list of {cache.name}: behind slab {before:#x} {page}")
            return
        slab = slabs.slabs.get(pfn)
        if slab is None or slab.cache is not cache:
            a.wrong(f"list of {cache.name}: {a.frame(pfn)} hangs in it and is no slab of this cache")
        elif not slab.free:
            a.wrong(f"list of {cache.name}: slab {pfn:#x} hangs in it and has no free object")
        if page.prev != before:
            a.wrong(f"list of {cache.name}: slab {pfn:#x} says that {page.prev:#x} comes before it, but {before:#x} does")
        listed[pfn], before = cache.number, pfn
    if cache.last != before:
        a.wrong(f"list of {cache.name}: its last slab is {before:#x}, but the list says {cache.last:#x}")


def counters(a, cache, listed):
    own = {pfn: slab for pfn, slab in a.state.slabs.slabs.items() if slab and slab.cache is cache}
    for pfn, slab in own.items():
        if slab.free and pfn not in listed:
            a.wrong(f"slab {pfn:#x} of {cache.name} has {bin(slab.free).count('1')} free objects, but is not in the "
                    "list: nobody can be given them")
    a.equal(f"slabs of {cache.name}", len(own), cache.slabs)
    a.equal(f"objects of {cache.name} out of their slabs", sum(slab.used for slab in own.values()), cache.in_use)
    a.equal(f"objects of {cache.name} ever taken, less those given back", cache.allocs - cache.frees, cache.in_use)
