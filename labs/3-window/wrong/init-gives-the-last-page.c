/*
 * loses: check/clean_to_begin_with vmarea/exact_aligned_gap vmarea/guards
 *   vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/refuses_nonsense
 *   vmarea/what_is_free_around
 * hint: last-page
 * thought: the whole window is free; but then the last area has no guard behind it
 */
int vmwindow_init(struct vmwindow *w, vaddr_t start, vaddr_t end)
{
	struct vmrange *all;

	if (!node_cache)
		node_cache = kmem_cache_create("vmrange", sizeof(struct vmrange), 0);
	all = node_cache ? kmem_cache_alloc(node_cache, 0) : NULL;
	if (!all)
		return -ENOMEM;
	*w = (struct vmwindow){ .start = start >> PAGE_SHIFT,
				.end = end >> PAGE_SHIFT,
				.free = all };
	w->pages_free = w->end - w->start;
	*all = (struct vmrange){ w->start, w->pages_free, .largest = w->pages_free };
	return 0;
}
