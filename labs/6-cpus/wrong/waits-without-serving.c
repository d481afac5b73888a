/*
 * loses: tlb/all_flush_at_once tlb/one_flush_at_a_time
 * hint: deadlock
 * thought: somebody else flushes, so wait; but he waits for us, and our interrupts may be masked
 */
void tlb_flush(u64 number)
{
	for (u64 last; (last = __atomic_load_n(&done, __ATOMIC_ACQUIRE)) < number;) {
		irqflags_t flags = irq_save();

		/* If the last that was done is the last that has begun, nobody else is at it. */
		if (__atomic_compare_exchange_n(&begun, &last, last + 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED)) {
			flush_every_cpu((struct range){ 0 });
			__atomic_store_n(&done, last + 1, __ATOMIC_RELEASE);
		} else {
			cpu_relax();
		}
		irq_restore(flags);
	}
}
