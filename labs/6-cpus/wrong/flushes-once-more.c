/*
 * loses: shootdown/what_comes_later_waits_longer tlb/flushes_are_numbered
 *   tlb/full_batch_flushes_itself tlb/large_areas_go_to_the_depot
 * hint: flushed-again
 * thought: who asks for a flush gets one; but if it is done already there is nothing to do
 */
void tlb_flush(u64 number)
{
	u64 last;

	do {
		irqflags_t flags = irq_save();

		last = __atomic_load_n(&done, __ATOMIC_ACQUIRE);
		/* If the last that was done is the last that has begun, nobody else is at it. */
		if (__atomic_compare_exchange_n(&begun, &last, last + 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED)) {
			flush_every_cpu((struct range){ 0 });
			__atomic_store_n(&done, last + 1, __ATOMIC_RELEASE);
		} else {
			cpu_serve();
		}
		irq_restore(flags);
	} while (!tlb_flushed(number));
}
