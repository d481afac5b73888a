/*
 * loses: vmarea/alignment_and_limits vmarea/exact_aligned_gap vmarea/guards
 *   vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/out_of_memory
 *   vmarea/refuses_nonsense vmarea/what_is_free_around
 * hint: not-merged
 * thought: the range behind grows downwards; but the one before is its neighbour, too
 */
void vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
{
	u64 start = (va >> PAGE_SHIFT) - 1, end = start + 1 + nr_pages;
	struct vmrange *before, *range, *behind;

	split(w->free, end, &before, &behind);
	split(behind, end + 1, &range, &behind);
	range->start = start;
	range->nr_pages += nr_pages + 1;
	w->free = join(join(before, update(range)), behind);
	w->nr_used--;
	w->pages_free += nr_pages + 1;
	*lo = range->start << PAGE_SHIFT;
	*hi = end_of(range) << PAGE_SHIFT;
}
