/*
 * loses: *
 * hint: itself-not-flushed
 * thought: a shootdown is what the others are told; but the CPU that tells them has a TLB, too
 */
static void flush_every_cpu(struct range range)
{
	on_other_cpus(flush_this_cpu, &range);
	__atomic_add_fetch(&counts.shootdowns, nr_cpus() > 1, __ATOMIC_RELAXED);
}
