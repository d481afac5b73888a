/*
 * loses: shootdown/no_address_is_reused_before shootdown/no_frame_is_reused_before
 *   shootdown/pruned_tables_are_forgotten shootdown/range_is_flushed
 *   shootdown/who_does_not_answer_holds_up_reuse tlb/all_flush_at_once
 *   tlb/asked_in_the_midst_of_a_flush tlb/one_flush_at_a_time tlb/tables_are_kept_until_it_is_over
 * hint: others-left-out in-its-tlb
 * thought: the entries are cleared in memory, which all CPUs share; but each has a TLB of its own
 */
static void flush_every_cpu(struct range range)
{
	flush_this_cpu(&range);
	__atomic_add_fetch(&counts.shootdowns, nr_cpus() > 1, __ATOMIC_RELAXED);
}
