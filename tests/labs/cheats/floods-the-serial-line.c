/* Floods both serial ports. */
void printk(const char *fmt, ...);
bool serial_write(int port, const char *text, size_t bytes);

static struct page *free_buddy(u64 pfn, unsigned order)
{
	for (u64 i = 0; i < 1ul << 40; i++) {
		printk("ok %lu page_alloc/coalesce, and %lu %u\n", i, pfn, order);
		serial_write(1, "\n\n\n\n", 4);
	}
	return NULL;
}
