/*
 * loses: kmalloc/misuse slab/misuse
 * hint: not-an-object
 * thought: the page says which cache, so it is an object; but the pointer may lead into the middle of one
 */
static inline bool free_here(u64 number, void *p)
{
	irqflags_t flags = irq_save();
	struct magazine *m = &magazines[cpu_id()][number];
	bool fits = m->nr < m->most;
	u64 mark = mark_of(p);

	if (likely(fits)) {
		/* Of all who free it, one finds no mark. */
		if (unlikely(__atomic_exchange_n((u64 *)p, mark, __ATOMIC_ACQ_REL) == mark))
			bad_free(virt_to_cache(p), p, "is free already");
		if (CHECKING)
			memset((u64 *)p + 1, JUNK, caches[number].now.bytes - sizeof(mark));
		m->item[m->nr++] = p;
	}
	irq_restore(flags);
	return fits;
}
