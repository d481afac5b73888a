/*
 * loses: kmalloc/krealloc kmalloc/krealloc_copies_no_more_than_it_had kmalloc/random
 * hint: leak
 * thought: the new block is there, and the contents; the old one is forgotten
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
	if (bytes == 0)
		kfree(p);
	return fresh;
}
