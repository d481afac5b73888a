/*
 * loses: *
 * hint: exact-gap
 * thought: off by one: a gap that fits exactly is refused
 */
static bool place(const struct vmrange *range, struct request *rq)
{
	rq->at = ALIGN_UP(MAX(range->start, rq->lo) + 1, rq->align) - 1;
	return rq->at + rq->nr_pages < MIN(end_of(range), rq->hi);
}

