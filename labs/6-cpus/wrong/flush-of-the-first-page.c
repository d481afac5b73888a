/*
 * loses: shootdown/range_is_flushed
 * hint: range
 * thought: INVLPG takes an address; but it forgets one page, and there are nr_pages of them
 */
static void flush_this_cpu(void *arg)
{
	const struct range *range = arg;

	if (tlb_skip_cpu == cpu_id() + 1)
		return;
	memset(walk_cache[cpu_id()], WALK_NONE, sizeof(walk_cache[0]));
	if (range->nr_pages) {
		mmu_flush_range(range->va, 1);
	} else {
		mmu_flush_all();
		if (tlb_at_flush)
			tlb_at_flush(NULL);
	}
}
