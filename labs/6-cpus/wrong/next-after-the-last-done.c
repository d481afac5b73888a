/*
 * loses: tlb/asked_in_the_midst_of_a_flush tlb/closed_batch_waits_for_its_own_flush
 *   tlb/one_flush_at_a_time
 * hint: next-under-way
 * thought: one more than the last that is done; but that one may have begun, and have passed some CPU
 */
u64 tlb_next_flush(void)
{
	/* Entries cleared before must be seen cleared by a flush that begins after this look. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&done, __ATOMIC_RELAXED) + 1;
}
