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
 * are PG_TAIL, which is 0: at boot we write one struct page a block. In a hole there may be none,
 * so a buddy is looked at only if it is RAM. No free block spans two ranges of the map.
 *
 * In front of the lists, each CPU has a magazine for each order: free blocks (PG_STOCK) of its own.
 * All blocks pass through it, so most requests need no lock and no merging. An empty one is half
 * filled from the lists, a full one half emptied; all go back when none is left, and to count.
 *
 * With a shuffle seed, wherever there is a choice (which order to split, which end of a list, which
 * half to keep) a die decides, and frames come as scattered as after weeks of use.
 */
#include <kernel/printk.h>
#include <kernel/random.h>
#include <kernel/spinlock.h>
#include <mm/mm.h>

static struct page_list free_lists[MAX_ORDER + 1]; /* page_lock */
static u64 listed;				   /* frames in them; page_lock */
static u64 die;					   /* page_lock; 0: we do not shuffle */
static struct spinlock page_lock = SPINLOCK("page_alloc", LOCK_PAGES);
static u64 (*shrinkers[4])(void), nr_shrinkers;

static struct magazine of_cpu_0[NR_MAGAZINES];
struct magazine *magazines[NR_CPUS] = { of_cpu_0 };
struct page *main_first;
u64 main_pages, nr_frames;
bool (*mm_injector)(bool object);

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
	u64 nr = __atomic_load_n(&listed, __ATOMIC_RELAXED);

	for (u32 cpu = 0; cpu < nr_cpus(); cpu++)
		for (unsigned order = 0; order <= MAX_ORDER; order++)
			nr += (u64)magazines[cpu][KMEM_MAX_CACHES + 1 + order].nr << order;
	return nr;
}

struct page *page_head(u64 pfn)
{
	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		u64 head = ALIGN_DOWN(pfn, 1ul << order);
		struct page *page = pfn_valid(head) ? pfn_to_page(head) : NULL;

		if (!page)
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
	ASSERT(order <= MAX_ORDER && IS_ALIGNED(page_to_pfn(page), 1ul << order));
	page->state_and_order = PAGE_IS(PG_FREE, order);
	page_list_add(&free_lists[order], page, roll(2));
	listed += 1ul << order;
}

static void list_remove(struct page *page, unsigned order)
{
	ASSERT(page->state_and_order == PAGE_IS(PG_FREE, order));
	page->state = PG_TAIL;
	page_list_remove(&free_lists[order], page);
	listed -= 1ul << order;
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
		pfn |= (u64)!roll(2) << from; /* which half to keep: magazines reverse the order */
		list_add(pfn_to_page(pfn ^ (1ul << from)), from);
	}
	pfn_to_page(pfn)->state_and_order = PAGE_IS(PG_STOCK, order);
	return pfn_to_page(pfn);
}

/* The buddy of this block, if it is free and whole. */
static struct page *free_buddy(u64 pfn, unsigned order)
{
	u64 buddy = pfn ^ (1ul << order);
	struct page *page = pfn_to_page(buddy);

	if (order == MAX_ORDER || !pfn_valid(buddy))
		return NULL;
	return page->state == PG_FREE && page->order == order ? page : NULL;
}

/* Put a PG_STOCK block back, merged with its buddies. False: it is none. page_lock held. */
static bool put_block(struct page *page, unsigned order)
{
	struct page *buddy;

	if (!page_claim(page, order, PG_STOCK, PG_TAIL))
		return false;
	for (; (buddy = free_buddy(page_to_pfn(page), order)); order++) {
		list_remove(buddy, order);
		page = MIN(page, buddy);
	}
	list_add(page, order);
	return true;
}

static _Noreturn void bad_free(struct page *page, unsigned order)
{
	bool is_one = IS_ALIGNED((vaddr_t)page, sizeof(*page));
	const struct page *head = is_one ? page_head(page_to_pfn(page)) : NULL;
	enum page_state state = head ? head->state : PG_TAIL;
	char text[PAGE_TEXT];

	panic("__free_pages: page %p, order %u, %s\n  %s\n"
	      "  free a block once, with the page and the order of its alloc_pages",
	      (void *)page, order,
	      !head				    ? "is not the struct page of a frame of RAM" :
	      state == PG_FREE || state == PG_STOCK ? "is free already" :
	      state == PG_RESERVED		    ? "was never handed out" :
	      state == PG_ALLOC			    ? "is not a block as it was allocated" :
				  "belongs to a part of mm/, which frees it itself",
	      page_text(text, page));
}

/* Of another range of RAM than the largest; or it is none that may be freed. */
void free_pages_slow(struct page *page, unsigned order)
{
	if (order > MAX_ORDER || !IS_ALIGNED((vaddr_t)page, sizeof(*page)) ||
	    !pfn_valid(page_to_pfn(page)) || !page_claim(page, order, PG_ALLOC, PG_STOCK))
		bad_free(page, order);
	page_to_stock(page, order);
}

/* Magazines */

/* Half fill this CPU's and take one block; NULL: there is none. */
static struct page *refill(unsigned order)
{
	irqflags_t flags = spin_lock(&page_lock);
	struct magazine *m = block_magazine(order);
	struct page *page;

	while (m->nr <= m->most / 2 && (page = take_block(order)))
		m->item[m->nr++] = page;
	page = magazine_pop(m);
	spin_unlock(&page_lock, flags);
	return page;
}

/*
 * Give a block back to the lists, and of this CPU's all but so many. Between lists and owner they are
 * PG_STOCK, also under way: who frees one twice must not find it PG_ALLOC.
 */
void give_blocks(struct page *page, unsigned order, u32 left)
{
	irqflags_t flags = spin_lock(&page_lock);
	struct magazine *m = block_magazine(order);
	bool ok;

	while ((ok = put_block(page, order)) && m->nr > left)
		page = m->item[--m->nr];
	spin_unlock(&page_lock, flags);
	if (!ok)
		bad_free(page, order);
}

static void empty_here(void *unused)
{
	struct page *page;

	(void)unused;
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		if ((page = magazine_pop(block_magazine(order))))
			give_blocks(page, order, 0);
}

void drain_all_pages(void)
{
	on_every_cpu(empty_here, NULL);
}

void register_shrinker(u64 (*fn)(void))
{
	BUG_ON(nr_shrinkers == ARRAY_SIZE(shrinkers));
	shrinkers[nr_shrinkers++] = fn;
}

struct page *alloc_pages_slow(gfp_t gfp, unsigned order, vaddr_t owner)
{
	struct page *page;

	if (order > MAX_ORDER || (CHECKING && mm_injector && mm_injector(false)))
		return NULL;
	page = refill(order);
	if (!page) { /* get back what others keep, as far as the caller may wait for them */
		bool may_wait = !(gfp & __GFP_NORECLAIM || in_interrupt());

		for (u64 i = 0; may_wait && i < nr_shrinkers; i++)
			shrinkers[i]();
		empty_here(NULL);
		if (may_wait)
			on_other_cpus(empty_here, NULL);
		page = refill(order);
	}
	if (page)
		page_set_owner(page, PG_ALLOC, owner);
	if (page && gfp & __GFP_ZERO)
		memset(page_address(page), 0, PAGE_SIZE << order);
	return page;
}

u64 alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = 0;

	while (got < nr_pages && nr_pages <= nr_frames && (pages[got] = alloc_pages(gfp, 0)))
		page_set_owner(pages[got++], PG_ALLOC, CALLER());
	if (got == nr_pages)
		return got;
	free_pages_bulk(got, pages);
	return 0;
}

void free_pages_bulk(u64 nr_pages, struct page **pages)
{
	for (u64 i = 0; i < nr_pages; i++)
		__free_pages(pages[i], 0);
}

struct page *next_block(u64 *pfn, u64 *nr_pages)
{
	const struct memrange *r = memmap.range, *stop = r + memmap.nr;
	struct page *page;

	while (r < stop && (!memmap_is_ram(r->type) || r->end >> PAGE_SHIFT <= *pfn))
		r++;
	if (r == stop)
		return NULL;
	*pfn = MAX(*pfn, r->start >> PAGE_SHIFT);
	page = pfn_to_page(*pfn);
	*nr_pages = page->state == PG_TAIL ? 1 : 1ul << MIN(page->order, MAX_ORDER);
	*nr_pages = MIN(*nr_pages, (r->end >> PAGE_SHIFT) - *pfn);
	return page;
}

void page_stats(struct page_stats *stats)
{
	irqflags_t flags;
	struct page *page;

	drain_all_pages();
	flags = spin_lock(&page_lock);
	*stats = (struct page_stats){ 0 };
	for (u64 pfn = 0, nr; (page = next_block(&pfn, &nr)); pfn += nr) {
		stats->state[page->state % PG_NR_STATES] += nr;
		stats->free_blocks[page->order % (MAX_ORDER + 1)] += page->state == PG_FREE;
		stats->total += page->state == PG_RESERVED ? 0 : nr;
	}
	stats->free = stats->state[PG_FREE] + stats->state[PG_STOCK];
	spin_unlock(&page_lock, flags);
}

u64 page_list_count(const struct page_list *list, u16 state_and_order)
{
	u32 pfn = list->first, last = 0;
	u64 nr = 0;

	while (pfn && pfn_valid(pfn) && pfn_to_page(pfn)->prev == last &&
	       pfn_to_page(pfn)->state_and_order == state_and_order) {
		last = pfn;
		pfn = pfn_to_page(pfn)->next;
		nr++;
	}
	return pfn || last != list->last ? ~0ul : nr;
}

static void audit_block(const struct page *page, u64 pfn, u64 nr)
{
	bool usable = ram_range(pfn)->type == MEM_USABLE, sound;

	sound = page->state > PG_TAIL && page->state < PG_NR_STATES && page->order <= MAX_ORDER &&
		nr == 1ul << page->order && IS_ALIGNED(pfn, nr) &&
		usable == (page->state != PG_RESERVED) &&
		(page->state != PG_FREE || !free_buddy(pfn, page->order));
	for (u64 i = 1; i < nr; i++)
		sound &= page[i].state == PG_TAIL;
	if (!sound)
		COMPLAIN("page_alloc: frame 0x%lx, %s RAM: state %u, order %u is unsound", pfn,
			 usable ? "usable" : "reserved", page->state, page->order);
}

void page_alloc_check(void)
{
	struct page_stats found;
	struct page *page;

	page_stats(&found); /* what magazines held must then be whole in the lists */
	for (u64 pfn = 0, nr; (page = next_block(&pfn, &nr)); pfn += nr)
		audit_block(page, pfn, nr);
	check_equal("frames", found.total, nr_frames);
	check_equal("free frames", found.free, listed);
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		check_equal("free blocks of an order, and in its list", found.free_blocks[order],
			    page_list_count(&free_lists[order], PAGE_IS(PG_FREE, order)));
}

/* Free a range of usable RAM in the largest aligned blocks, the highest first. */
static void adopt(u64 pfn, u64 end)
{
	if (end - pfn > main_pages) {
		main_first = pfn_to_page(pfn);
		main_pages = end - pfn;
	}
	while (pfn < end) {
		unsigned order = MIN(__builtin_ctzl(end), MAX_ORDER);

		order = MIN(order, 63u - __builtin_clzl(end - pfn));
		end -= 1ul << order;
		list_add(pfn_to_page(end), order);
	}
}

int magazines_init(u32 cpu)
{
	struct magazine *m = __get_free_pages(GFP_KERNEL, 3);

	_Static_assert(sizeof(*m) * NR_MAGAZINES <= PAGE_SIZE << 3, "all of a CPU's");
	for (u32 i = 0; m && i < NR_MAGAZINES; i++) {
		m[i] = of_cpu_0[i];
		m[i].nr = 0;
	}
	magazines[cpu] = m;
	return m ? 0 : -ENOMEM;
}

void page_alloc_init(u64 shuffle_seed)
{
	die = shuffle_seed;
	for (const struct memrange *r = memmap.range + memmap.nr; r-- > memmap.range;) {
		u64 pfn = r->start >> PAGE_SHIFT, end = r->end >> PAGE_SHIFT;

		if (r->type == MEM_USABLE)
			adopt(pfn, end);
		else if (memmap_is_ram(r->type))
			while (pfn < end)
				pfn_to_page(pfn++)->state = PG_RESERVED;
	}
	nr_frames = listed;
	for (unsigned order = 0; order <= MAX_ORDER; order++) /* 1/64 of memory, at most */
		block_magazine(order)->most =
			MIN(nr_frames >> (order + 6), MAX(MAGAZINE_ITEMS >> order, 1ul));
}
