/*
 * loses: vmalloc/nearly_all_of_memory vmalloc/refuses_impossible_sizes
 *   vmalloc/second_try_begins_anew
 * hint: waiting-is-memory
 * thought: more pages than are free cannot be had
 */
void *vm_new_area(struct vm_request *rq)
{
	void *p;

	if (rq->nr_pages - 1 >= AREA_MAX_PAGES)
		return NULL;
	if (owns_frames(rq->kind) && !rq->what && rq->nr_pages > nr_free_pages())
		return NULL;
	p = try_area(rq);
	if (p)
		return p;
	vm_unmap_aliases();
	return try_area(rq);
}
