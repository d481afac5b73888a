/*
 * loses: kmalloc/classes kmalloc/krealloc kmalloc/large kmalloc/large_names_its_owner
 *   kmalloc/misuse kmalloc/no_free_neighbours kmalloc/random kmalloc/sizes
 * hint: only-first-page
 * thought: the page is given back; the others of the block are not thought of
 */
void kfree_large(const void *p)
{
	struct page *page;

	do /* of two who free it at once, one changes its state; the other panics here */
		page = large_block(p);
	while (!page_claim(page, page->order, PG_KMALLOC, PG_STOCK));
	page_to_stock(page, 0);
}
