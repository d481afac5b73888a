/*
 * loses: check/clean_to_begin_with vmarea/alignment_and_limits vmarea/guards
 *   vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/out_of_memory
 * hint: misses-some
 * thought: the root, then what lies behind it; what lies before it is never looked at
 */
static struct vmrange *fit(struct vmrange *tree, struct request *rq, u64 need)
{
	for (; tree && tree->largest >= need; tree = tree->right) {
		if (tree->nr_pages >= need && place(tree, rq))
			return tree;
		if (end_of(tree) >= rq->hi)
			break;
	}
	return NULL;
}
