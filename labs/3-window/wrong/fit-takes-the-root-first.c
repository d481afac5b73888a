/*
 * loses: check/clean_to_begin_with vmarea/alignment_and_limits vmarea/guards
 *   vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/out_of_memory
 * hint: misses-some
 * thought: any range that is large enough will do; but the lowest was asked for
 */
static struct vmrange *fit(struct vmrange *tree, struct request *rq, u64 need)
{
	struct vmrange *found;

	if (!tree || tree->largest < need)
		return NULL;
	if (tree->nr_pages >= need && place(tree, rq))
		return tree;
	found = fit(tree->left, rq, need);
	return found ? found : fit(tree->right, rq, need);
}
