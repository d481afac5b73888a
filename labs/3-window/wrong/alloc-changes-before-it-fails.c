/*
 * loses: vmarea/out_of_memory
 * hint: changed-though-it-failed
 * thought: there will be memory for a node; if not, the range has been cut short already
 */
int vmarea_alloc(struct vmwindow *w, u64 nr_pages, u64 align, vaddr_t lo, vaddr_t hi, vaddr_t *va)
{
	struct request rq = { .nr_pages = nr_pages + 1,
			      .align = align >> PAGE_SHIFT,
			      .lo = (lo >> PAGE_SHIFT) + !IS_ALIGNED(lo, PAGE_SIZE),
			      .hi = hi >> PAGE_SHIFT };
	struct vmrange *range, *new;
	u64 end;

	if (!nr_pages || align < PAGE_SIZE || align & (align - 1))
		return -EINVAL;
	if (nr_pages > w->end || rq.align > w->end) /* no sum of those wraps */
		return -ENOSPC;
	range = fit(w->free, &rq, rq.nr_pages + rq.align - 1);
	if (!range && rq.align > 1)
		range = fit(w->free, &rq, rq.nr_pages);
	if (!range)
		return -ENOSPC;
	end = end_of(range);
	range->nr_pages = rq.at - range->start;
	new = kmem_cache_alloc(node_cache, __GFP_NORECLAIM);
	if (!new)
		return -ENOMEM;
	*new = (struct vmrange){ rq.at + rq.nr_pages, .priority = random_next(&priorities) };
	new->nr_pages = end - new->start;
	insert(&w->free, new); /* on the way it passes range, and updates */
	w->nr_used++;
	w->pages_free -= rq.nr_pages;
	*va = (rq.at + 1) << PAGE_SHIFT;
	return 0;
}
