/*
 * loses: shootdown/what_comes_later_waits_longer tlb/all_flush_at_once
 *   tlb/asked_in_the_midst_of_a_flush tlb/closed_batch_waits_for_its_own_flush
 *   tlb/one_flush_at_a_time tlb/tables_are_kept_until_it_is_over
 * hint: nobody-told
 * thought: flushing is all that a flush does; but what waits on this CPU is to become a batch then
 */
static void flush_this_cpu(void *arg)
{
	const struct range *range = arg;

	if (tlb_skip_cpu == cpu_id() + 1)
		return;
	memset(walk_cache[cpu_id()], WALK_NONE, sizeof(walk_cache[0]));
	if (range->nr_pages) {
		mmu_flush_range(range->va, range->nr_pages);
	} else {
		mmu_flush_all();
	}
}
