/*
 * loses: shootdown/no_frame_is_reused_before shootdown/pruned_tables_are_forgotten
 *   shootdown/range_is_flushed shootdown/what_comes_later_waits_longer
 *   shootdown/who_does_not_answer_holds_up_reuse tlb/all_flush_at_once
 *   tlb/asked_in_the_midst_of_a_flush tlb/closed_batch_waits_for_its_own_flush
 *   tlb/one_flush_at_a_time tlb/stale_until_flushed tlb/tables_are_kept_until_it_is_over
 * hint: own-tlb left-out
 * thought: a shootdown is what the others are told; but the CPU that tells them has a TLB, too
 */
static void flush_every_cpu(struct range range)
{
	on_other_cpus(flush_this_cpu, &range);
	__atomic_add_fetch(&counts.shootdowns, nr_cpus() > 1, __ATOMIC_RELAXED);
}
