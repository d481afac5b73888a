/*
 * loses: vmalloc/nearly_all_of_memory vmalloc/refuses_impossible_sizes
 *   vmalloc/second_try_begins_anew
 * hint: ring-is-full
 * thought: as soon as there is room in the ring it goes on
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
			cpu_serve();
	}
	flags = irq_save();
	pte_set(window_entry(va - PAGE_SIZE), (pte_t){ note.v & ~AREA_MIXED });
	stock_put_area(stock, va, window_entry(va), note.v >> AREA_PAGES_SHIFT);
	irq_restore(flags);
}
