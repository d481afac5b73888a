/*
 * loses: check/clean_to_begin_with vmarea/alignment_and_limits vmarea/guards
 *   vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/out_of_memory
 *   vmarea/what_is_free_around
 * hint: misses-some
 * thought: where a large enough range is, go there, and only there; but it may lie outside the limits, or be ill aligned
 */
static struct vmrange *fit(struct vmrange *tree, struct request *rq, u64 need)
{
	while (tree && tree->largest >= need) {
		if (largest_of(tree->left) >= need)
			tree = tree->left;
		else if (tree->nr_pages >= need)
			return place(tree, rq) ? tree : NULL;
		else
			tree = tree->right;
	}
	return NULL;
}
