/*
 * loses: vmarea/alignment_and_limits vmarea/exact_aligned_gap
 * hint: guard-aligned
 * thought: the place is aligned; but it is the guard's, and the first page, behind it, is what was asked for
 */
static bool place(const struct vmrange *range, struct request *rq)
{
	rq->at = ALIGN_UP(MAX(range->start, rq->lo), rq->align);
	return rq->at + rq->nr_pages <= MIN(end_of(range), rq->hi);
}

