/*
 * loses: page_alloc/main_range
 * hint: main-range
 * thought: the fast path does without it; true, but then it is not fast
 */
static void adopt(u64 pfn, u64 end)
{
	while (pfn < end) {
		unsigned order = MIN(__builtin_ctzl(end), MAX_ORDER);

		order = MIN(order, 63u - __builtin_clzl(end - pfn));
		end -= 1ul << order;
		list_add(pfn_to_page(end), order);
	}
}
