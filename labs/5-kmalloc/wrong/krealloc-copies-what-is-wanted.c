/*
 * loses: kmalloc/krealloc_copies_no_more_than_it_had
 * hint: copies-too-much
 * thought: as many bytes as were asked for; but the old block is smaller, and behind it lie others' bytes
 */
void *krealloc(const void *p, u64 bytes, gfp_t gfp)
{
	u64 had = ksize(p);
	void *fresh = (void *)p;

	if (p && bytes && bytes <= had)
		return fresh;
	fresh = kmalloc_slow(bytes, gfp, CALLER()); /* 0 bytes: NULL */
	if (fresh && p)
		memcpy(fresh, p, bytes);
	if (fresh || bytes == 0)
		kfree(p);
	return fresh;
}
