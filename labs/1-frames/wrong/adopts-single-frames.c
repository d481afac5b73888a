/*
 * loses: *
 * hint: no-large-blocks
 * thought: frame by frame into the list of order 0; nothing larger than 4 KiB can ever be had
 */
static void adopt(u64 pfn, u64 end)
{
	if (end - pfn > main_pages) {
		main_first = pfn_to_page(pfn);
		main_pages = end - pfn;
	}
	for (; pfn < end; pfn++)
		list_add(pfn_to_page(pfn), 0);
}
