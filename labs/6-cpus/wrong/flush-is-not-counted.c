/*
 * loses: tlb/flushes_are_numbered
 * hint: not-counted
 * thought: who counts, and what for; but a shootdown that nobody sees cannot be avoided
 */
static void flush_every_cpu(struct range range)
{
	on_every_cpu(flush_this_cpu, &range);
}
