/*
 * loses: vmalloc/page_of_any_address
 * hint: not-the-window
 * thought: what is mapped has a frame
 */
struct page *vmalloc_to_page(const void *p)
{
	irqflags_t flags = irq_save();
	struct page *page = NULL;
	struct mapping m;

	if (pt_lookup(&kernel_pt, (vaddr_t)p, &m))
		page = pfn_to_page(paddr_to_pfn(paddr(m.pa.v + ((vaddr_t)p - m.va))));
	irq_restore(flags);
	return page;
}
