/*
 * loses: *
 * hint: lock-held
 * thought: only one may flush at a time, so take the lock; but who waits for other CPUs may hold none
 */
void tlb_flush(u64 number)
{
	irqflags_t flags = spin_lock(&tlb_lock);

	while (done < number) {
		begun++;
		flush_every_cpu((struct range){ 0 });
		done = begun;
	}
	spin_unlock(&tlb_lock, flags);
}
