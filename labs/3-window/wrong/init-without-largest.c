/*
 * loses: *
 * hint: largest-wrong
 * thought: one node, nothing below it; but its own pages count for the largest, too
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
				.end = (end >> PAGE_SHIFT) - 1,
				.free = all };
	w->pages_free = w->end - w->start;
	*all = (struct vmrange){ w->start, w->pages_free };
	return 0;
}
