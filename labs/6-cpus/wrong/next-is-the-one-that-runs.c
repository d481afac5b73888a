/*
 * loses: *
 * hint: number-of-the-past
 * thought: the last flush that has begun is the one to wait for; but it was over, or under way, when we unmapped
 */
u64 tlb_next_flush(void)
{
	/* Entries cleared before must be seen cleared by a flush that begins after this look. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&begun, __ATOMIC_RELAXED);
}
