/*
 * loses: vmarea/alignment_and_limits vmarea/guards vmarea/lowest_fit_as_the_model
 *   vmarea/merges_both_neighbours vmarea/out_of_memory vmarea/what_is_free_around
 * hint: not-found
 * thought: the largest range below a node; but the node itself is one of them
 */
static u64 largest_in(const struct vmrange *node)
{
	return MAX(largest_of(node->left), largest_of(node->right));
}
