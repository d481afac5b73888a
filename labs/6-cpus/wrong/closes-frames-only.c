/*
 * loses: *
 * hint: half-a-batch
 * thought: what waits is the frames; but their addresses wait in the lists
 */
static void close_batch(void *anew)
{
	struct vm_stock *stock = this_stock();

	if (stock->flush && !anew)
		return;
	stock->frames.closed = stock->frames.tail;
	stock->pages.closed = stock->pages.tail;
	stock->flush = tlb_next_flush();
}
