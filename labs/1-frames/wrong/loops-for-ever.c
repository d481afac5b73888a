/*
 * loses: *
 * hint: endless
 * thought: what is left of the range is put on a list; but nothing gets less
 */
static void adopt(u64 pfn, u64 end)
{
	if (end - pfn > main_pages) {
		main_first = pfn_to_page(pfn);
		main_pages = end - pfn;
	}
	while (pfn < end) {
		unsigned order = MIN(__builtin_ctzl(end), MAX_ORDER);

		order = MIN(order, 63u - __builtin_clzl(end - pfn));
		list_add(pfn_to_page(end - (1ul << order)), order);
	}
}
