/*
 * loses: shootdown/no_address_is_reused_before shootdown/no_frame_is_reused_before
 *   shootdown/who_does_not_answer_holds_up_reuse tlb/stale_until_flushed
 * hint: own-tlb in-its-tlb
 * thought: one call serves both, with the range as it is; but no pages means everything
 */
static void flush_this_cpu(void *arg)
{
	const struct range *range = arg;

	if (tlb_skip_cpu == cpu_id() + 1)
		return;
	memset(walk_cache[cpu_id()], WALK_NONE, sizeof(walk_cache[0]));
	mmu_flush_range(range->va, range->nr_pages);
	if (!range->nr_pages && tlb_at_flush)
		tlb_at_flush(NULL);
}
