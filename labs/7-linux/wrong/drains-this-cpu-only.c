/*
 * loses: ladder/what_other_cpus_keep_is_given_back shootdown/vfree_by_two_at_once
 * hint: other-cpus
 * thought: when memory is short, the CPU that is short of it gives all back that it keeps
 */
u64 vm_unmap_aliases(void)
{
	u64 released = 0;

	if (in_interrupt()) /* perhaps of a CPU that is draining */
		return 0;
	vm_free_deferred();
	while (__atomic_exchange_n(&draining, true, __ATOMIC_ACQUIRE))
		cpu_serve();
	on_every_cpu(close_batch, &draining); /* anew */
	tlb_flush_all();
	empty_here(NULL);
	for (u64 i = 0; i < STOCK_LISTS; i++)
		released += trim(&depot[i], 0);
	__atomic_store_n(&draining, false, __ATOMIC_RELEASE);
	return released + tlb_free_tables();
}
