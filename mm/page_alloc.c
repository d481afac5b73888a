/*
 * page_alloc.c - physical frames: a buddy allocator (Knowlton 1965; Knuth, TAOCP 1, 2.5).
 *
 * Memory is kept in blocks of 2^order frames, aligned to their size. Two blocks are buddies if
 * together they make an aligned block of twice the size: flip one bit of a frame number to find it.
 *
 *	order 2   [ 8  9 10 11 ][ 12 13 14 15 ]		8 ^ 4 = 12
 *	order 1   [ 8  9 ][ 10 11 ]			8 ^ 2 = 10
 *
 * To allocate, take a free block of that order, or halve a larger one until it fits. To free, merge
 * with the buddy for as long as that is free too. Both are O(MAX_ORDER).
 *
 * A free block hangs in its order's list by the struct page of its first frame. The other frames
 * are PG_TAIL, which is 0: at boot we write one struct page a block. That of a frame in a hole may
 * not even be mapped, so a buddy is looked at only inside the range of usable RAM that holds the
 * block. No free block crosses the end of one: the map has merged what can be merged.
 *
 * In front of the lists, each CPU keeps a few free blocks of each order (PG_STOCK) that it alone
 * touches, with interrupts masked: most requests need no lock and no merging. They are given back
 * when a block is missing, and to count.
 *
 * With a shuffle seed, wherever there is a choice (which order to split, which end of a list, which
 * half to keep) a die decides, and frames come as scattered as after weeks of use.
 */
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/random.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>
#include <mm/mm.h>
#include <mm/page_alloc.h>

static struct page_list free_lists[MAX_ORDER + 1]; /* page_lock */
static struct page_stats counted;		   /* page_lock; all but the states */
static u64 die;					   /* page_lock; 0: we do not shuffle */
static struct spinlock page_lock = SPINLOCK("page_alloc", LOCK_PAGES);
static u64 (*shrinkers[4])(void), nr_shrinkers;

struct page_stock *page_stocks[NR_CPUS];
_Static_assert(sizeof(struct page_stock[MAX_ORDER + 1]) <= PAGE_SIZE, "stocks fit in a frame");
struct page *main_first;
vaddr_t main_start;
u64 main_pages, (*mm_injector)(bool object, u64 nr);

/* The range of RAM that holds this frame, or NULL. */
static const struct memrange *ram_range(u64 pfn)
{
	u64 pa = MIN(pfn, MEMMAP_LIMIT >> PAGE_SHIFT) << PAGE_SHIFT;
	const struct memrange *range = memmap_find(&memmap, paddr(pa));

	return range && memmap_is_ram(range->type) ? range : NULL;
}

bool pfn_valid(u64 pfn)
{
	return pfn - page_to_pfn(main_first) < main_pages || ram_range(pfn);
}

u64 nr_free_pages(void)
{
	u64 nr = __atomic_load_n(&counted.free, __ATOMIC_RELAXED);

	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		for (unsigned order = 0; page_stocks[cpu] && order <= MAX_ORDER; order++)
			nr += (u64)page_stocks[cpu][order].nr << order;
	return nr;
}

struct page *page_head(u64 pfn)
{
	const struct memrange *range = ram_range(pfn);

	for (unsigned order = 0; range && order <= MAX_ORDER; order++) {
		u64 head = ALIGN_DOWN(pfn, 1ul << order);
		struct page *page = pfn_to_page(head);

		if (head < range->start >> PAGE_SHIFT)
			break;
		if (page->state != PG_TAIL && head + (1ul << page->order) > pfn)
			return page;
	}
	return NULL;
}

const char *page_text(char out[PAGE_TEXT], const struct page *page)
{
	u64 pfn = page_to_pfn(page);
	const struct page *head = page_head(pfn);
	u32 owner = head && head->state != PG_SLAB ? head->owner : 0;
	int n = snprintf(out, PAGE_TEXT, "frame 0x%lx, in %s block 0x%lx of 2^%u frames", pfn,
			 head ? page_state_name(head->state) : "no", head ? page_to_pfn(head) : 0,
			 head ? head->order : 0);

	if (owner)
		snprintf(out + n, PAGE_TEXT - n, ", last asked for by %pS",
			 (void *)(address_map.image + owner));
	return out;
}

/* A number below n: 0 unless we shuffle. */
static unsigned roll(unsigned n)
{
	return die ? (random_next(&die) >> 33) % n : 0;
}

static void list_add(struct page *page, unsigned order)
{
	page->state_and_order = PAGE_IS(PG_FREE, order);
	page_list_add(&free_lists[order], page, roll(2));
	counted.free_blocks[order]++;
	counted.free += 1ul << order;
}

static void list_remove(struct page *page, unsigned order)
{
	page->state = PG_TAIL;
	page_list_remove(&free_lists[order], page);
	counted.free_blocks[order]--;
	counted.free -= 1ul << order;
}

/* Take one block off the lists, split as needed; it is PG_STOCK till it has an owner. page_lock held. */
static struct page *take_block(unsigned order)
{
	unsigned from = order, nr = 0;
	u64 pfn;

	for (unsigned o = order; o <= MAX_ORDER && (die || nr == 0); o++)
		if (free_lists[o].first && roll(++nr) == 0)
			from = o;
	if (nr == 0)
		return NULL;
	pfn = roll(2) ? free_lists[from].last : free_lists[from].first;
	list_remove(pfn_to_page(pfn), from);
	while (from-- > order) {
		pfn |= (u64)roll(2) << from; /* the half to keep */
		list_add(pfn_to_page(pfn ^ (1ul << from)), from);
	}
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	return pfn_to_page(pfn);
}

/* The buddy of this block, if it is free and whole. */
static struct page *free_buddy(u64 pfn, unsigned order, const struct memrange *range)
{
	u64 buddy = pfn ^ (1ul << order), pa = buddy << PAGE_SHIFT;
	struct page *page = pfn_to_page(buddy);

	if (order == MAX_ORDER || pa < range->start || pa >= range->end)
		return NULL;
	return page->state == PG_FREE && page->order == order ? page : NULL;
}

/* Put a block, now PG_TAIL, back, merged with its buddies as far as that goes. page_lock held. */
static void put_block(u64 pfn, unsigned order, const struct memrange *range)
{
	struct page *buddy;

	for (; (buddy = free_buddy(pfn, order, range)); order++) {
		list_remove(buddy, order);
		pfn = MIN(pfn, page_to_pfn(buddy));
	}
	list_add(pfn_to_page(pfn), order);
}

/* Take up to nr blocks, holding the lock once; none, if there cannot be enough. */
static u64 take(unsigned order, u64 nr, struct page **pages)
{
	irqflags_t flags = spin_lock(&page_lock);
	u64 got = 0;

	if (order <= MAX_ORDER && nr << order <= counted.free)
		while (got < nr && (pages[got] = take_block(order)))
			got++;
	spin_unlock(&page_lock, flags);
	return got;
}

/* Free one block in that state, or say why not. page_lock held. */
static const char *give_block(struct page *page, unsigned order, enum page_state state)
{
	u64 pfn = page_to_pfn(page);
	const struct page *head = pfn_valid(pfn) && page->state ? page : page_head(pfn);

	if (!head || !IS_ALIGNED((vaddr_t)page, sizeof(*page)))
		return "is not the struct page of a frame of RAM";
	if (head == page && order <= MAX_ORDER && page_claim(page, order, state, PG_TAIL)) {
		if (CHECKING)
			memset(page_address(page), JUNK, PAGE_SIZE << order);
		put_block(pfn, order, ram_range(pfn));
		return NULL;
	}
	if (head->state == PG_FREE || head->state == PG_STOCK)
		return "is free already";
	if (head->state == PG_RESERVED)
		return "was never handed out";
	if (head->state != PG_ALLOC)
		return "belongs to a part of mm/, which frees it itself";
	return "is not a block as it was allocated";
}

/* Free blocks, holding the lock once. A wrong one panics (unlocked); those before it stay free. */
static void give(unsigned order, u64 nr, struct page **pages, enum page_state state)
{
	irqflags_t flags = spin_lock(&page_lock);
	const char *wrong = NULL;
	char text[PAGE_TEXT];
	u64 i = 0;

	while (i < nr && !(wrong = give_block(pages[i], order, state)))
		i++;
	spin_unlock(&page_lock, flags);
	if (wrong)
		panic("__free_pages: page %p, order %u, %s\n  %s\n"
		      "  free a block once, with the page and the order of its alloc_pages",
		      (void *)pages[i], order, wrong, page_text(text, pages[i]));
}

/* Stocks */

/*
 * Give blocks back to the lists until no more than nr are left. Between lists and owner all are
 * PG_STOCK, also under way: who frees one twice must not find it PG_ALLOC. Interrupts masked.
 */
static void cut_stock(struct page_stock *stock, u32 nr)
{
	u32 had = stock->nr;

	if (had <= nr)
		return;
	stock->nr = nr;
	give(stock->page[nr]->order, had - nr, stock->page + nr, PG_STOCK);
}

/* This block and half of the stock go back to the lists. */
void page_stock_full(struct page *page, unsigned order)
{
	irqflags_t flags = irq_save();
	struct page_stock *stock = page_stocks[cpu_id()] + order;

	cut_stock(stock, stock->max / 2);
	give(order, 1, &page, PG_STOCK);
	irq_restore(flags);
}

static void empty_stock(void *unused)
{
	irqflags_t flags = irq_save();

	(void)unused;
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		cut_stock(page_stocks[cpu_id()] + order, 0);
	irq_restore(flags);
}

void drain_all_pages(void)
{
	empty_stock(NULL);
	on_other_cpus(empty_stock, NULL);
}

void register_shrinker(u64 (*fn)(void))
{
	BUG_ON(nr_shrinkers == ARRAY_SIZE(shrinkers));
	shrinkers[nr_shrinkers++] = fn;
}

/* All nr blocks, or none. Returns how many. */
static u64 alloc_blocks(gfp_t gfp, unsigned order, u64 nr, struct page **pages, vaddr_t owner)
{
	u64 allowed = CHECKING && mm_injector ? mm_injector(false, nr) : nr;
	u64 got = take(order, allowed, pages);

	if (got < allowed) {
		if (!(gfp & __GFP_NORECLAIM) && !in_interrupt()) {
			for (u64 i = 0; i < nr_shrinkers; i++)
				shrinkers[i]();
			on_other_cpus(empty_stock, NULL);
		}
		empty_stock(NULL);
		got += take(order, allowed - got, pages + got);
	}
	if (got < nr) {
		give(order, got, pages, PG_STOCK);
		return 0;
	}
	for (u64 i = 0; i < nr; i++) {
		page_set_owner(pages[i], PG_ALLOC, owner);
		if (gfp & __GFP_ZERO)
			memset(page_address(pages[i]), 0, PAGE_SIZE << order);
	}
	return nr;
}

/* For want of stock: what this takes besides one block is what the next ones find there. */
struct page *alloc_pages_slow(gfp_t gfp, unsigned order, vaddr_t owner)
{
	struct page_stock *stock;
	struct page *page;
	irqflags_t flags;

	if (!alloc_blocks(gfp, order, 1, &page, owner))
		return NULL;
	flags = irq_save();
	stock = page_stocks[cpu_id()] + order;
	if (!stock->nr)
		stock->nr = take(order, stock->max / 2, stock->page);
	irq_restore(flags);
	return page;
}

/* Of another range of RAM than the largest; or it is none that may be freed, which give() tells. */
void free_pages_slow(struct page *page, unsigned order)
{
	if (order <= MAX_ORDER && IS_ALIGNED((vaddr_t)page, sizeof(*page)) &&
	    pfn_valid(page_to_pfn(page)) && page_claim(page, order, PG_ALLOC, PG_STOCK))
		page_to_stock(page, order);
	else
		give(order, 1, &page, PG_ALLOC);
}

u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	return alloc_blocks(gfp, 0, nr_pages, pages, CALLER());
}

void free_pages_bulk(u64 nr_pages, struct page **pages)
{
	give(0, nr_pages, pages, PG_ALLOC);
}

void for_each_block(void (*fn)(struct page *head, u64 nr_pages, void *arg), void *arg)
{
	for (const struct memrange *r = memmap.range; r < memmap.range + memmap.nr; r++) {
		u64 nr, end = memmap_is_ram(r->type) ? r->end >> PAGE_SHIFT : 0;

		for (u64 pfn = r->start >> PAGE_SHIFT; pfn < end; pfn += nr) {
			struct page *page = pfn_to_page(pfn);

			nr = page->state == PG_TAIL ? 1 : 1ul << MIN(page->order, MAX_ORDER);
			nr = MIN(nr, end - pfn);
			fn(page, nr, arg);
		}
	}
}

static void count_block(struct page *page, u64 nr, void *arg)
{
	struct page_stats *stats = arg;

	stats->state[page->state % PG_NR_STATES] += nr;
	stats->total += page->state == PG_RESERVED ? 0 : nr;
	stats->free += page->state == PG_FREE || page->state == PG_STOCK ? nr : 0;
	stats->free_blocks[page->order % (MAX_ORDER + 1)] += page->state == PG_FREE;
}

void page_stats(struct page_stats *stats)
{
	irqflags_t flags;

	drain_all_pages();
	flags = spin_lock(&page_lock);
	*stats = (struct page_stats){ 0 };
	for_each_block(count_block, stats);
	spin_unlock(&page_lock, flags);
}

/* Is this the pfn of a block that may stand beside page in a list, or 0? */
static bool is_mate(u32 pfn, const struct page *page)
{
	return !pfn || (pfn_valid(pfn) && pfn_to_page(pfn)->state == page->state &&
			pfn_to_page(pfn)->order == page->order);
}

bool page_list_holds(const struct page_list *list, const struct page *page)
{
	u32 pfn = page_to_pfn(page);

	return is_mate(page->next, page) && is_mate(page->prev, page) &&
	       (page->next ? pfn_to_page(page->next)->prev : list->last) == pfn &&
	       (page->prev ? pfn_to_page(page->prev)->next : list->first) == pfn;
}

static void audit_block(struct page *page, u64 nr, void *found)
{
	u64 pfn = page_to_pfn(page);
	const struct memrange *range = ram_range(pfn);
	bool usable = range->type == MEM_USABLE, sound;

	sound = page->state > PG_TAIL && page->state < PG_NR_STATES && page->order <= MAX_ORDER &&
		nr == 1ul << page->order && IS_ALIGNED(pfn, nr) &&
		usable == (page->state != PG_RESERVED);
	if (sound && page->state == PG_FREE)
		sound = page_list_holds(&free_lists[page->order], page) &&
			!free_buddy(pfn, page->order, range);
	for (u64 i = 1; i < nr; i++)
		sound &= page[i].state == PG_TAIL;
	if (!sound)
		COMPLAIN("page_alloc: frame 0x%lx, %s RAM: state %u, order %u is unsound", pfn,
			 usable ? "usable" : "reserved", page->state, page->order);
	count_block(page, nr, found);
}

void page_alloc_check(void)
{
	struct page_stats found = { 0 };

	drain_all_pages(); /* what they held must then be whole in the lists */
	for_each_block(audit_block, &found);
	if (memcmp(&found, &counted, offsetof(struct page_stats, state)))
		COMPLAIN("page_alloc: %lu frames, %lu free (or orders) are recounted as %lu, %lu",
			 counted.total, counted.free, found.total, found.free);
}

/* Free a range of usable RAM in the largest aligned blocks, the highest first. */
static void adopt(u64 pfn, u64 end)
{
	while (pfn < end) {
		unsigned order = MIN(__builtin_ctzl(end), MAX_ORDER);

		while (end - pfn < 1ul << order)
			order--;
		end -= 1ul << order;
		list_add(pfn_to_page(end), order);
	}
}

int page_stock_init(u32 cpu)
{
	struct page *page;

	if (!take(0, 1, &page))
		return -ENOMEM;
	page_set_owner(page, PG_ALLOC, CALLER());
	page_stocks[cpu] = memset(page_address(page), 0, PAGE_SIZE);
	for (unsigned order = 0; order <= MAX_ORDER; order++) /* 1/64 of memory an order, at most */
		page_stocks[cpu][order].max =
			MIN(counted.total >> (order + 6), MAX(STOCK_BLOCKS >> order, 1ul));
	return 0;
}

void page_alloc_init(u64 shuffle_seed)
{
	die = shuffle_seed;
	for (const struct memrange *r = memmap.range + memmap.nr; r-- > memmap.range;) {
		u64 pfn = r->start >> PAGE_SHIFT, end = r->end >> PAGE_SHIFT;

		if (r->type == MEM_USABLE)
			adopt(pfn, end);
		if (r->type == MEM_USABLE && end - pfn > main_pages) {
			main_first = pfn_to_page(pfn);
			main_start = (vaddr_t)page_address(main_first);
			main_pages = end - pfn;
		}
		while (r->type != MEM_USABLE && memmap_is_ram(r->type) && pfn < end)
			pfn_to_page(pfn++)->state = PG_RESERVED;
	}
	counted.total = counted.free;
	BUG_ON(page_stock_init(0));
}
