/*
 * loses: pagetable/all_or_nothing pagetable/leaf_levels_are_obeyed pagetable/map_in_large_leaves
 *   pagetable/memory_types_stay pagetable/misuse_changes_nothing pagetable/model_4_levels
 *   pagetable/split_keeps_translations
 * hint: leaf-too-small
 * thought: off by one: a large leaf that ends just where the range does is not used
 */
static int leaf_level(u64 at, u64 end, int max)
{
	while (max > 1 && (!IS_ALIGNED(at, level_bytes(max)) || at + level_bytes(max) >= end))
		max--;
	return max;
}
