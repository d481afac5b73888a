/*
 * loses: family/vrealloc_keeps_what_was_there vmalloc/guards_on_both_sides
 * hint: rounding
 * thought: a page has 4096 bytes: divide
 */
static u64 pages_for(u64 bytes)
{
	return bytes >> PAGE_SHIFT;
}
