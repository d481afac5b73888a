/*
 * loses: tlb/asked_in_the_midst_of_a_flush tlb/one_flush_at_a_time
 * hint: done-too-early
 * thought: we flush now, so it is done; but it takes a while, and others look meanwhile
 */
void tlb_flush(u64 number)
{
	for (u64 last; (last = __atomic_load_n(&done, __ATOMIC_ACQUIRE)) < number;) {
		irqflags_t flags = irq_save();

		/* If the last that was done is the last that has begun, nobody else is at it. */
		if (__atomic_compare_exchange_n(&begun, &last, last + 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED)) {
			__atomic_store_n(&done, last + 1, __ATOMIC_RELEASE);
			flush_every_cpu((struct range){ 0 });
		} else {
			cpu_serve();
		}
		irq_restore(flags);
	}
}
