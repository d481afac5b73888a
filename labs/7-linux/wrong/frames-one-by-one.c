/*
 * loses: ladder/any_order_6_times_leaner
 * hint: frames-one-by-one
 * thought: the stock asks for a frame when it has none
 */
void stock_refill(struct vm_stock *stock, u64 least)
{
	u64 most = MIN(1ul, stock->mask + 1 - (stock->frames.tail - stock->frames.head));
	struct page *pages[BULK];
	u64 nr = alloc_pages_bulk(__GFP_NORECLAIM, most, pages) ?:
			 alloc_pages_bulk(__GFP_NORECLAIM, MIN(most, least), pages);

	while (nr-- > 0) {
		pages[nr]->state = PG_VMALLOC;
		stock->ring[--stock->frames.head & stock->mask] =
			pte_make_leaf(page_to_phys(pages[nr]), 1, PAGE_KERNEL);
	}
}
