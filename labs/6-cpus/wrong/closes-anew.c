/*
 * loses: *
 * hint: closed-again
 * thought: all that waits is the batch, as often as somebody flushes; but then its flush is always the next one
 */
static void close_batch(void *anew)
{
	struct vm_stock *stock = this_stock();

	(void)anew;
	stock->frames.closed = stock->frames.tail;
	stock->pages.closed = stock->pages.tail;
	for (u64 i = 0; i < STOCK_LISTS; i++)
		stock->lists[i].nr.closed = stock->lists[i].nr.tail;
	stock->flush = tlb_next_flush();
}
