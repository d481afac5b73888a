/* Fills the disk from the build: an object of a terabyte. */
static const char huge[1ul << 40] = { 1 };

static struct page *free_buddy(u64 pfn, unsigned order)
{
	return huge[pfn] ? pfn_to_page(order) : NULL;
}
