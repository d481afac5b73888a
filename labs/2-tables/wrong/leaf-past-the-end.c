/*
 * loses: pagetable/all_or_nothing pagetable/map_in_large_leaves pagetable/model_4_levels
 * hint: frame-not-aligned
 * thought: a leaf may be as large as the address is aligned; but the range may end before it does
 */
static int leaf_level(u64 at, u64 end, int max)
{
	(void)end;
	while (max > 1 && !IS_ALIGNED(at, level_bytes(max)))
		max--;
	return max;
}
