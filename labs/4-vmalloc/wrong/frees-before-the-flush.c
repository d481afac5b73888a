/*
 * loses: vmalloc/frames_wait_for_the_flush vmalloc/second_try_begins_anew
 * hint: before-the-flush
 * thought: nobody may use it any more, so the frames can go back
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
		nr = in_table(at, end);
		for (u64 i = 0; own && i < nr; i++) {
			pte_t pte = pte_get(window_entry(at) + i);
			struct page *page = pfn_to_page(paddr_to_pfn(pte_paddr(pte, 1)));

			page->state = PG_ALLOC;
			__free_pages(page, 0);
		}
		pte_clear(window_entry(at), nr);
		irq_restore(flags);
	}
	flags = irq_save();
	pte_set(window_entry(va - PAGE_SIZE), (pte_t){ note.v & ~AREA_MIXED });
	stock_put_area(stock, va, window_entry(va), note.v >> AREA_PAGES_SHIFT);
	irq_restore(flags);
}

void vm_free_area(vaddr_t va, enum vm_kind kind)
{
	irqflags_t flags = irq_save();
	pte_t *guard = IS_ALIGNED(va, PAGE_SIZE) ? window_entry(va - PAGE_SIZE) : NULL;
	bool ours = false;

	if (guard) {
		pte_t was = pte_get(guard), freed = was;

		freed.v ^= AREA_KIND(kind) ^ AREA_KIND(VM_FREED);
		ours = (was.v & AREA_KIND(15)) == AREA_KIND(kind) && pte_replace(guard, was, freed);
	}
	irq_restore(flags);
	if (!ours)
		bad_pointer(free_calls[kind], va);
	free_long(va, guard, owns_frames(kind));
}
