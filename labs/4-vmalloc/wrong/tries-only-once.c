/*
 * loses: vmalloc/refuses_impossible_sizes vmalloc/second_try_begins_anew
 * hint: waiting-is-memory
 * thought: no memory is no memory
 */
void *vm_new_area(struct vm_request *rq)
{
	void *p;

	if (rq->nr_pages - 1 >= AREA_MAX_PAGES)
		return NULL;
	p = try_area(rq);
	if (p)
		return p;
	return NULL;
}
