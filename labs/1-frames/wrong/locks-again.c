/*
 * loses: *
 * hint: lock-held
 * thought: the lists are shared, so page_lock is to be taken; but who calls has it
 */
static struct page *take_block(unsigned order)
{
	irqflags_t flags = spin_lock(&page_lock);
	unsigned from = order;
	u64 pfn;

	while (from <= MAX_ORDER && !free_lists[from].first)
		from++;
	if (from > MAX_ORDER) {
		spin_unlock(&page_lock, flags);
		return NULL;
	}
	pfn = free_lists[from].first;
	list_remove(pfn_to_page(pfn), from);
	while (from-- > order)
		list_add(pfn_to_page(pfn + (1ul << from)), from);
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	spin_unlock(&page_lock, flags);
	return pfn_to_page(pfn);
}
