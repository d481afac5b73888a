/*
 * loses: vmalloc/guards_on_both_sides
 * hint: caller-lost
 * thought: the caller is who called me
 */
void *vm_new_area(struct vm_request *rq)
{
	void *p;

	rq->caller = CALLER();
	if (rq->nr_pages - 1 >= AREA_MAX_PAGES)
		return NULL;
	p = try_area(rq);
	if (p)
		return p;
	vm_unmap_aliases();
	if (owns_frames(rq->kind) && !rq->what && rq->nr_pages > nr_free_pages())
		return NULL;
	return try_area(rq);
}
