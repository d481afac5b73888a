/* Loops for ever, sooner or later. */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	static u64 calls;

	(void)pfn;
	(void)order;
	if (++calls > 3000)
		for (;;)
			;
	return NULL;
}
