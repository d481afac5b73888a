/*
 * loses: vmarea/alignment_and_limits vmarea/exact_aligned_gap vmarea/guards
 *   vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/out_of_memory
 *   vmarea/refuses_nonsense vmarea/what_is_free_around
 * hint: leak
 * thought: two ranges have become one; the other's node is forgotten
 */
void vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
{
	u64 start = (va >> PAGE_SHIFT) - 1, end = start + 1 + nr_pages;
	struct vmrange *before, *range, *gone, *behind;

	split(w->free, end, &before, &behind);
	split(behind, end + 1, &gone, &behind);
	for (range = before; range && range->right;)
		range = range->right;
	BUG_ON(!gone || !range || end_of(range) != start);
	split(before, range->start, &before, &range);
	range->nr_pages = end_of(gone) - range->start;
	w->free = join(join(before, update(range)), behind);
	w->nr_used--;
	w->pages_free += nr_pages + 1;
	*lo = range->start << PAGE_SHIFT;
	*hi = end_of(range) << PAGE_SHIFT;
}
