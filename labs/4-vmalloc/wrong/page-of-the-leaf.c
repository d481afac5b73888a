/*
 * loses: vmalloc/page_of_any_address
 * hint: offset-in-the-leaf
 * thought: the walk says where the leaf leads
 */
struct page *vmalloc_to_page(const void *p)
{
	irqflags_t flags = irq_save();
	struct page *page = NULL;
	struct mapping m;

	if (is_vmalloc_addr(p) && pt_lookup(&kernel_pt, (vaddr_t)p, &m))
		page = pfn_to_page(paddr_to_pfn(m.pa));
	irq_restore(flags);
	return page;
}
