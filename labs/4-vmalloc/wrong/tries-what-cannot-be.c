/*
 * loses: vmalloc/refuses_impossible_sizes
 * hint: tried-in-vain
 * thought: if it fails, flush and try again; it will fail again if it must
 */
void *vm_new_area(struct vm_request *rq)
{
	void *p;

	if (rq->nr_pages - 1 >= AREA_MAX_PAGES)
		return NULL;
	p = try_area(rq);
	if (p)
		return p;
	vm_unmap_aliases();
	return try_area(rq);
}
