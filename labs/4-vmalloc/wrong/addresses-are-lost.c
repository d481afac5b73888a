/*
 * loses: family/each_kind_is_freed_by_each_road family/put_pages_change_hands
 *   vmalloc/every_failure_unwinds vmalloc/map_unwinds_from_anywhere vmalloc/nearly_all_of_memory
 *   vmalloc/page_of_any_address vmalloc/refuses_impossible_sizes vmalloc/second_try_begins_anew
 *   vmalloc/vmap_shows_the_same_frames
 * hint: addresses-lost
 * thought: the frames are back, so everything is
 */
static void put_area(vaddr_t va, pte_t note, u64 nr_mapped, bool own)
{
	vaddr_t end = va + (nr_mapped << PAGE_SHIFT);
	struct vm_stock *stock = this_stock();
	irqflags_t flags;

	if (note.v & AREA_MIXED)
		vm_make_plain(va, end);
	for (u64 at = va, nr; at < end; at += nr << PAGE_SHIFT) {
		flags = irq_save();
		nr = MIN(in_table(at, end), own ? stock_can_put(stock) : PT_ENTRIES);
		stock_unmap(stock, window_entry(at), nr, own);
		irq_restore(flags);
		if (!nr)
			stock_settle(true);
	}
	flags = irq_save();
	pte_set(window_entry(va - PAGE_SIZE), (pte_t){ note.v & ~AREA_MIXED });
	irq_restore(flags);
}
