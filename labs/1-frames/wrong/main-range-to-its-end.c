/*
 * loses: page_alloc/foreign page_alloc/main_range
 * hint: main-range
 * thought: main_pages is where the range ends; it is how many frames it has
 */
static void adopt(u64 pfn, u64 end)
{
	if (end - pfn > main_pages) {
		main_first = pfn_to_page(pfn);
		main_pages = end;
	}
	while (pfn < end) {
		unsigned order = MIN(__builtin_ctzl(end), MAX_ORDER);

		order = MIN(order, 63u - __builtin_clzl(end - pfn));
		end -= 1ul << order;
		list_add(pfn_to_page(end), order);
	}
}
