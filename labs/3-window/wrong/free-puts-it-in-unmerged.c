/*
 * loses: vmarea/alignment_and_limits vmarea/exact_aligned_gap vmarea/guards
 *   vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/out_of_memory
 *   vmarea/refuses_nonsense vmarea/what_is_free_around
 * hint: not-merged
 * thought: what was taken is free again, a range of its own; but its neighbours are free, too
 */
void vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
{
	u64 start = (va >> PAGE_SHIFT) - 1, end = start + 1 + nr_pages;
	struct vmrange *new = kmem_cache_alloc(node_cache, __GFP_NORECLAIM);

	BUG_ON(!new);
	*new = (struct vmrange){ start, nr_pages + 1, .priority = random_next(&priorities) };
	insert(&w->free, new);
	w->nr_used--;
	w->pages_free += nr_pages + 1;
	*lo = start << PAGE_SHIFT;
	*hi = end << PAGE_SHIFT;
}
