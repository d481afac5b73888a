/*
 * loses: check/clean_to_begin_with vmarea/alignment_and_limits vmarea/what_is_free_around
 * hint: ends-behind-hi
 * thought: it fits into the range; that it must end before hi is forgotten
 */
static bool place(const struct vmrange *range, struct request *rq)
{
	rq->at = ALIGN_UP(MAX(range->start, rq->lo) + 1, rq->align) - 1;
	return rq->at + rq->nr_pages <= end_of(range);
}

