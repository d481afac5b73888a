/*
 * loses: vmalloc/nearly_all_of_memory vmalloc/refuses_impossible_sizes
 *   vmalloc/second_try_begins_anew
 * hint: half-an-area
 * thought: the area has so many pages, so that many go back
 */
static void *try_area(struct vm_request *rq)
{
	vaddr_t va = rq->align ? window_get(rq->nr_pages, rq->align, rq->lo, rq->hi) :
				 stock_get_area(rq->nr_pages);
	vaddr_t at = va, end = va + (rq->nr_pages << PAGE_SHIFT);
	irqflags_t flags;
	pte_t note;

	if (!va)
		return NULL;
	rq->va = va;
	rq->done = 0;
	for (u64 nr = 1; nr && at < end; at += nr << PAGE_SHIFT, rq->done += nr) {
		flags = irq_save();
		nr = rq->fill(rq, window_entry(at), in_table(at, end));
		irq_restore(flags);
	}
	note = vm_area_encode(at == end ? rq->kind : VM_FREED, rq->nr_pages, rq->caller);
	note.v |= rq->mixed ? AREA_MIXED : 0;
	if (at < end) {
		put_area(va, note, rq->nr_pages, owns_frames(rq->kind));
		return NULL;
	}
	pte_set(pt_entry(&kernel_pt, va - PAGE_SIZE), note);
	return (void *)va;
}
