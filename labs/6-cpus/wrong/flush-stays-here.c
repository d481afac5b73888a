/*
 * loses: *
 * hint: others-not-flushed
 * thought: the entries are cleared in memory, which all CPUs share; but each has a TLB of its own
 */
static void flush_every_cpu(struct range range)
{
	flush_this_cpu(&range);
	__atomic_add_fetch(&counts.shootdowns, nr_cpus() > 1, __ATOMIC_RELAXED);
}
