/*
 * loses: *
 * hint: not-aligned
 * thought: the largest block that still fits; but a block must be aligned to its size, too
 */
static void adopt(u64 pfn, u64 end)
{
	if (end - pfn > main_pages) {
		main_first = pfn_to_page(pfn);
		main_pages = end - pfn;
	}
	while (pfn < end) {
		unsigned order = MIN(63u - __builtin_clzl(end - pfn), MAX_ORDER);

		list_add(pfn_to_page(pfn), order);
		pfn += 1ul << order;
	}
}
