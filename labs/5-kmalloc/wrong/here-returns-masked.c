/*
 * loses: kmalloc/classes kmalloc/krealloc kmalloc/large kmalloc/large_names_its_owner
 *   kmalloc/misuse kmalloc/no_free_neighbours kmalloc/random kmalloc/sizes slab/frames_go_back
 *   slab/frees_by_other_cpus slab/interrupts slab/magazines slab/per_slab slab/random_objects
 * hint: masked
 * thought: no room, so return at once; but interrupts are masked by then, and stay so
 */
static inline bool free_here(u64 number, void *p)
{
	irqflags_t flags = irq_save();
	struct magazine *m = &magazines[cpu_id()][number];
	bool fits = AT_SCALE(p, m->scale) < m->limit && m->nr < m->most;
	u64 mark = mark_of(p);

	if (!fits)
		return false;
	/* Of all who free it, one finds no mark. */
	if (unlikely(__atomic_exchange_n((u64 *)p, mark, __ATOMIC_ACQ_REL) == mark))
		bad_free(virt_to_cache(p), p, "is free already");
	if (CHECKING)
		memset((u64 *)p + 1, JUNK, caches[number].now.bytes - sizeof(mark));
	m->item[m->nr++] = p;
	irq_restore(flags);
	return fits;
}
