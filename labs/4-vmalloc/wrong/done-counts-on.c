/*
 * loses: vmalloc/second_try_begins_anew
 * hint: second-try
 * thought: the second try goes on where the first came to
 */
static void *try_area(struct vm_request *rq)
{
	pte_t note;
	vaddr_t end;

	if (rq->align)
		rq->va = window_get(rq->nr_pages, rq->align, rq->lo, rq->hi);
	else
		rq->va = stock_get_area(rq->nr_pages);
	if (!rq->va)
		return NULL;
	end = rq->va + rq->nr_pages * PAGE_SIZE;
	while (rq->done < rq->nr_pages) {
		vaddr_t at = rq->va + rq->done * PAGE_SIZE;
		irqflags_t flags = irq_save();
		u64 nr = rq->fill(rq, window_entry(at), in_table(at, end));

		irq_restore(flags);
		if (nr == 0)
			break;
		rq->done += nr;
	}
	note = vm_area_encode(rq->done == rq->nr_pages ? rq->kind : VM_FREED, rq->nr_pages, rq->caller);
	if (rq->mixed)
		note.v |= AREA_MIXED;
	if (rq->done < rq->nr_pages) {
		put_area(rq->va, note, rq->done, owns_frames(rq->kind));
		return NULL;
	}
	pte_set(pt_entry(&kernel_pt, rq->va - PAGE_SIZE), note);
	return (void *)rq->va;
}
