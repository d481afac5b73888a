/* No cheat: a buddy allocator that never merges. What it earns, a cheat that is built on it must not surpass. */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	(void)pfn;
	(void)order;
	return NULL;
}
