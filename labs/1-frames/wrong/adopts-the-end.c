/*
 * loses: check/clean_to_begin_with page_alloc/blocks page_alloc/ends_of_ram page_alloc/foreign
 * hint: adopted-too-much
 * thought: from pfn to end: end is read as the last frame, and is adopted, too
 */
static void adopt(u64 pfn, u64 end)
{
	if (end - pfn > main_pages) {
		main_first = pfn_to_page(pfn);
		main_pages = end - pfn;
	}
	while (pfn <= end) {
		unsigned order = pfn ? MIN(__builtin_ctzl(pfn), MAX_ORDER) : MAX_ORDER;

		while (order && pfn + (1ul << order) > end + 1)
			order--;
		list_add(pfn_to_page(pfn), order);
		pfn += 1ul << order;
	}
}
