/*
 * loses: kmalloc/misuse slab/double_free slab/double_free_into_a_full_magazine
 *   slab/free_of_what_was_never_allocated slab/misuse
 * hint: no-mark
 * thought: the bit in the slab tells double frees; but an object in a magazine is in use, for its slab
 */
static inline bool free_here(u64 number, void *p)
{
	irqflags_t flags = irq_save();
	struct magazine *m = &magazines[cpu_id()][number];
	bool fits = AT_SCALE(p, m->scale) < m->limit && m->nr < m->most;

	if (likely(fits)) {
		if (CHECKING)
			memset((u64 *)p + 1, JUNK, caches[number].now.bytes - sizeof(u64));
		m->item[m->nr++] = p;
	}
	irq_restore(flags);
	return fits;
}
