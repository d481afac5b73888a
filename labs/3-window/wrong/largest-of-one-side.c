/*
 * loses: vmarea/lowest_fit_as_the_model vmarea/merges_both_neighbours vmarea/out_of_memory
 *   vmarea/what_is_free_around
 * hint: not-found
 * thought: the largest of the node and what lies to its left; what lies to its right is never found
 */
static u64 largest_in(const struct vmrange *node)
{
	return MAX(node->nr_pages, largest_of(node->left));
}
