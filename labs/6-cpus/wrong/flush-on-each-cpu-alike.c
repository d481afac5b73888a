/*
 * loses: shootdown/no_address_is_reused_before shootdown/no_frame_is_reused_before
 *   shootdown/pruned_tables_are_forgotten shootdown/range_is_flushed
 * hint: no-harm
 * thought: who is named by tlb_skip_cpu flushes all the same; but the tests must see what happens if it does not
 */
static void flush_this_cpu(void *arg)
{
	const struct range *range = arg;

	memset(walk_cache[cpu_id()], WALK_NONE, sizeof(walk_cache[0]));
	if (range->nr_pages) {
		mmu_flush_range(range->va, range->nr_pages);
	} else {
		mmu_flush_all();
		if (tlb_at_flush)
			tlb_at_flush(NULL);
	}
}
