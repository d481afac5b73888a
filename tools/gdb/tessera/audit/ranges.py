"""Free addresses: a treap, ordered by address, a heap by priority, each node knowing the largest range below it."""

from .. import words
from ..paging import PAGE


def audit(a):
    """The extents of areas by it: [(first, end)] in pages; None if its links are broken."""
    window = a.state.window
    nodes, broken = window.treap
    for text in broken:
        a.wrong(f"free ranges: {text}")
    if (window.start, window.end) != (window.lo >> 12, (window.hi + 1 >> 12) - 1):
        a.wrong(f"vmalloc_window says that the window is pages {window.start:#x}-{window.end:#x}; by the address map it "
                f"is {window.lo >> 12:#x}-{(window.hi + 1 >> 12) - 1:#x}")
    order(a, nodes, broken)
    heap(a, {node.at: node for node in nodes})
    are_objects(a, nodes)
    if broken:
        return None
    a.equal("free ranges", len(nodes), window.nr_used + 1, "vmalloc_window")
    a.equal("free pages of the window", sum(node.pages for node in nodes), window.pages_free, "vmalloc_window")
    return window.extents


def span(node):
    return f"0x{node.start << 12:x}, {words.number(node.pages, 'page')} (node {node.at:#x})"


def order(a, nodes, broken):
    """From the window's first page to its last, with room for an area between any two."""
    window, behind = a.state.window, a.state.window.start
    for i, node in enumerate(nodes):
        if i == 0 and node.start != behind:
            a.wrong(f"free range {span(node)} must begin at page {behind:#x}, where the window begins")
        elif i and node.start < behind + 2:
            a.wrong(f"free range {span(node)} must begin two pages or more behind {behind:#x}, where the one before ends: "
                    "between them lies an area, a guard and a page at least")
        behind = node.start + node.pages
    if nodes and behind != window.end and not broken:
        a.wrong(f"the last free range ends at page {behind:#x}; the window's last that may be used is "
                f"{window.end - 1:#x}")


def heap(a, nodes):
    """What each node says of those below it. nodes: by address."""
    for node in nodes.values():
        children = [nodes[at] for at in (node.left, node.right) if at in nodes]
        largest = max([node.pages] + [child.largest for child in children])
        if node.largest != largest:
            a.wrong(f"free range {span(node)} says that the largest at or below it has {node.largest} pages; it has "
                    f"{largest}")
        for child in children:
            if child.priority > node.priority:
                a.wrong(f"free range {span(node)} has priority {node.priority:#x}, its child {span(child)} a higher "
                        f"one, {child.priority:#x}: no heap")


def are_objects(a, nodes):
    """Each is an object in use of the cache vmrange."""
    slabs = a.state.slabs
    cache = slabs.cache_named("vmrange")
    if cache is None:
        a.wrong("there is no cache 'vmrange' for the nodes of free ranges")
        return
    for node in nodes:
        pa = node.at - a.state.map.direct
        slab = slabs.slabs.get(pa >> 12)
        index, inside = divmod(pa % PAGE, cache.bytes)
        if slab is None or slab.cache is not cache or inside or index >= cache.per_slab:
            a.wrong(f"free range {span(node)}: its node is no object of cache vmrange, it lies in {a.frame(pa >> 12)}")
        elif slab.free >> index & 1 or node.at in slabs.at_hand:
            a.wrong(f"free range {span(node)}: its node is an object that is free: the next allocation overwrites it")
