/*
 * loses: *
 * hint: check-loops
 * thought: it begins where the range begins; that lo may lie inside of the range is forgotten
 */
static bool place(const struct vmrange *range, struct request *rq)
{
	rq->at = ALIGN_UP(range->start + 1, rq->align) - 1;
	return rq->at + rq->nr_pages <= MIN(end_of(range), rq->hi);
}

