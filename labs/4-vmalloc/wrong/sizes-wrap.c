/*
 * loses: family/vrealloc_keeps_what_was_there
 * hint: sum-wraps
 * thought: add a page less one byte, and divide
 */
static u64 pages_for(u64 bytes)
{
	return (bytes + PAGE_SIZE - 1) >> PAGE_SHIFT;
}
