/*
 * loses: tlb/one_flush_at_a_time
 * hint: two-at-once
 * thought: each takes a number and flushes; but the slower one comes last, and sets done back
 */
void tlb_flush(u64 number)
{
	irqflags_t flags = irq_save();
	u64 mine;

	if (!tlb_flushed(number)) {
		mine = __atomic_add_fetch(&begun, 1, __ATOMIC_SEQ_CST);
		flush_every_cpu((struct range){ 0 });
		__atomic_store_n(&done, mine, __ATOMIC_RELEASE);
	}
	irq_restore(flags);
}
