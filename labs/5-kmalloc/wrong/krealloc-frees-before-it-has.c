/*
 * loses: kmalloc/krealloc
 * hint: krealloc-lost
 * thought: no memory: the old block goes, and NULL is returned; but the caller still has it
 */
void *krealloc(const void *p, u64 bytes, gfp_t gfp)
{
	u64 had = ksize(p);
	void *fresh = (void *)p;

	if (p && bytes && bytes <= had)
		return fresh;
	fresh = kmalloc_slow(bytes, gfp, CALLER()); /* 0 bytes: NULL */
	if (fresh && p)
		memcpy(fresh, p, had);
	kfree(p);
	return fresh;
}
