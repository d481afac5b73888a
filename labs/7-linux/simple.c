/*
 * simple.c - what lab 7 begins with: vmalloc without stocks, correct and slow.
 *
 * Each request goes to the window and to page_alloc, one frame after the other. Each free unmaps,
 * flushes every CPU, and gives all back before it returns. tools/lab puts these functions in the place
 * of those that the master has.
 */

/* Addresses for an area, with their tables. */
vaddr_t stock_get_area(u64 nr_pages)
{
	return window_get(nr_pages, PAGE_SIZE, VMALLOC_START, VMALLOC_END);
}

/* One frame. */
void stock_refill(struct vm_stock *stock, u64 least)
{
	bool room = stock->frames.tail - stock->frames.head <= stock->mask;
	struct page *page = room ? alloc_pages(__GFP_NORECLAIM, 0) : NULL;

	(void)least;
	if (!page)
		return;
	page->state = PG_VMALLOC;
	stock->ring[--stock->frames.head & stock->mask] =
		pte_make_leaf(page_to_phys(page), 1, PAGE_KERNEL);
}

/* All that waits here now may be used again after the next flush. */
static void close_batch(void *anew)
{
	struct vm_stock *stock = this_stock();

	if (stock->flush && !anew)
		return;
	stock->frames.closed = stock->frames.tail;
	stock->pages.closed = stock->pages.tail;
	for (u64 i = 0; i < STOCK_LISTS; i++)
		stock->lists[i].nr.closed = stock->lists[i].nr.tail;
	stock->flush = tlb_next_flush();
}

/* If that flush is done, it is ready. */
static void open_batch(struct vm_stock *stock)
{
	if (!stock->flush || !tlb_flushed(stock->flush))
		return;
	stock->flush = 0;
	stock->frames.ready = stock->frames.closed;
	stock->pages.ready = stock->pages.closed;
	for (u64 i = 0; i < STOCK_LISTS; i++)
		stock->lists[i].nr.ready = stock->lists[i].nr.closed;
}

/* Flush, and give back all that was freed here: nothing is kept. */
void stock_settle(bool full)
{
	struct vm_stock *stock = this_stock();
	irqflags_t flags;
	u64 number;

	if (in_interrupt() && !full) /* it waits for the next free outside */
		return;
	vm_free_deferred();
	flags = irq_save();
	close_batch(stock); /* anew */
	number = stock->flush;
	irq_restore(flags);
	tlb_flush(number);
	flags = irq_save();
	open_batch(stock);
	irq_restore(flags);
	return_frames(stock, 0);
	for (u64 i = 0; i < STOCK_LISTS; i++) {
		if (!nr_ready(&stock->lists[i]))
			continue;
		flags = irq_save();
		move(&stock->lists[i], &depot[i], nr_ready(&stock->lists[i]));
		irq_restore(flags);
		trim(&depot[i], 0);
	}
	tlb_free_tables();
}

/* There is no fast way yet. */
static inline __attribute__((always_inline)) void *alloc_fast(u64 bytes, vaddr_t caller)
{
	return alloc_slow(pages_for(bytes), VM_ALLOC, caller);
}

/* Of all who try to free an area, the one that changes its descriptor goes on. */
inline __attribute__((always_inline)) void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	pte_t was = guard ? pte_get(guard) : (pte_t){ 0 };
	u64 swap = AREA_KIND(kind) ^ AREA_KIND(VM_FREED);
	bool claimed = (was.v & AREA_KIND(15)) == AREA_KIND(kind) &&
		       pte_replace(guard, was, (pte_t){ was.v ^ swap });

	irq_restore(flags);
	if (!claimed)
		bad_pointer(free_calls[kind], va);
	free_long(va, guard, owns_frames(kind));
	stock_settle(false);
}
