/*
 * loses: shootdown/pruned_tables_are_forgotten
 * hint: old-table
 * thought: the TLB is flushed, and that is all that a CPU remembers; but we keep walks of our own
 */
static void flush_this_cpu(void *arg)
{
	const struct range *range = arg;

	if (tlb_skip_cpu == cpu_id() + 1)
		return;
	if (range->nr_pages) {
		mmu_flush_range(range->va, range->nr_pages);
	} else {
		mmu_flush_all();
		if (tlb_at_flush)
			tlb_at_flush(NULL);
	}
}
