/*
 * vmap.c - areas of other frames than stock's, and of other entries than plain ones.
 *
 * vmap shows frames that somebody has, ioremap what is no RAM: a list says which, one by one, and
 * each is looked at before it is mapped. When such an area is freed its entries are just cleared.
 *
 * An area of vmalloc is plain: its entries are those of the stock's ring, writable, 4 KiB each. Two
 * things make it mixed, and its descriptor says so, for vfree has to make them plain again:
 *
 *	vmalloc_huge	puts a leaf of 2 MiB where an entry led to a page table. The table stays, in
 *			the care of the block's second struct page, and comes back when the leaf is
 *			split: that needs no memory and cannot fail.
 *	set_memory	makes pages read-only or executable. Code is nowhere writable: neither in the direct
 *			map, whose large leaves are split for it, nor by a vmap. Rights are first taken,
 *			then flushed, then others given, so that no TLB ever holds both.
 */
#include <mm/memmap.h>
#include <mm/vmstock.h>

/* What vmap must not show: frames that are nobody's, or whose protection it would get round. */
#define HIDDEN_STATES \
	(1u << PG_FREE | 1u << PG_STOCK | 1u << PG_RESERVED | 1u << PG_TABLE | 1u << PG_TEXT)

/* Returns how many, from the first on, are mapped now. */
static inline u64 show_pages(pte_t *entry, struct page *const *page, u64 nr, pgprot_t prot)
{
	enum { SCALE = PAGE_SIZE / sizeof(struct page) };
	u64 leaf = pte_make_leaf(paddr(0), 1, prot).v - (vaddr_t)pfn_to_page(0) * SCALE;
	s64 i = -(s64)nr;

	entry += nr, page += nr;
	do {
		if (unlikely(1u << page[i]->state & HIDDEN_STATES))
			break;
		entry[i].v = leaf + (vaddr_t)page[i] * SCALE; /* the descriptor releases them all */
	} while (++i);
	return nr + i;
}

static u64 fill_pages(struct vm_request *rq, pte_t *entry, u64 nr)
{
	return show_pages(entry, (struct page *const *)rq->what + rq->done, nr, rq->prot);
}

/* rq->what: numbers of frames; NULL: rq->pfn and those behind it. */
static u64 fill_pfns(struct vm_request *rq, pte_t *entry, u64 nr)
{
	const u64 *pfns = rq->what;

	for (u64 i = 0, at = rq->done; i < nr; i++, at++) {
		u64 pfn = pfns ? pfns[at] : rq->pfn + at;

		if (pfn >= MEMMAP_LIMIT >> PAGE_SHIFT || pfn_valid(pfn))
			return i;
		pte_set(&entry[i], pte_make_leaf(paddr(pfn << PAGE_SHIFT), 1, rq->prot));
	}
	return nr;
}

static inline bool is_data(pgprot_t prot)
{
	return prot == PAGE_KERNEL || prot == PAGE_KERNEL_RO;
}

static noinline void *vmap_slow(struct page **pages, u64 count, pgprot_t prot, enum vm_kind kind,
				vaddr_t caller)
{
	struct vm_request rq = { count, kind, prot, pages, 0, caller, .fill = fill_pages };

	return is_data(prot) ? vm_new_area(&rq) : NULL;
}

void *vmap(struct page **pages, u64 count, pgprot_t prot)
{
	irqflags_t flags = irq_save();
	struct vm_stock *stock = this_stock();
	vaddr_t va;
	pte_t *guard = is_data(prot) ? at_hand(stock, count, &va) : NULL;

	if (unlikely(!guard)) {
		irq_restore(flags);
		return vmap_slow(pages, count, prot, VM_MAP, CALLER());
	}
	if (likely(show_pages(guard + 1, pages, count, prot) == count)) {
		pte_set(guard, vm_area_encode(VM_MAP, count, CALLER()));
	} else {
		pte_clear(guard + 1, count);
		stock_put_area(stock, va, guard + 1, count);
		va = 0;
	}
	irq_restore(flags);
	return (void *)va;
}

void *vmap_put_pages(struct page **pages, u64 count)
{
	void *p = NULL;
	u64 i = 0;

	while (i < count && page_claim(pages[i], 0, PG_ALLOC, PG_VMALLOC))
		i++;
	if (i == count)
		p = vmap_slow(pages, count, PAGE_KERNEL, VM_ALLOC, CALLER());
	while (!p && i-- > 0)
		pages[i]->state = PG_ALLOC;
	return p;
}

void *vmap_pfn(const u64 *pfns, u64 count, pgprot_t prot)
{
	struct vm_request rq = { count, VM_MAP, prot, pfns, 0, CALLER(), .fill = fill_pfns };

	return is_data(prot & ~PAGE_UC) ? vm_new_area(&rq) : NULL;
}

void *ioremap_prot(paddr_t pa, u64 bytes, pgprot_t prot)
{
	u64 offset = pa.v & (PAGE_SIZE - 1), pfn = paddr_to_pfn(pa);
	u64 nr = ALIGN_UP(offset + bytes, PAGE_SIZE) >> PAGE_SHIFT;
	struct vm_request rq = { nr, VM_IOREMAP, prot, NULL, pfn, CALLER(), .fill = fill_pfns };
	bool fits = bytes && pa.v < MEMMAP_LIMIT && bytes <= MEMMAP_LIMIT - pa.v;
	void *p = fits && is_data(prot & ~PAGE_UC) ? vm_new_area(&rq) : NULL;

	return p ? p + offset : NULL;
}

void iounmap(const volatile void *p)
{
	if (p)
		vm_free_area(ALIGN_DOWN((vaddr_t)p, PAGE_SIZE), VM_IOREMAP);
}

u64 vread(void *buf, const void *p, u64 bytes)
{
	bool any = false;

	for (u64 at = 0, nr; at < bytes; at += nr) {
		vaddr_t va = (vaddr_t)p + at, offset = va & (PAGE_SIZE - 1);
		irqflags_t flags = irq_save(); /* no flush ends meanwhile, so nothing is reused */
		struct page *page = vmalloc_to_page((void *)va);
		bool there = page && pfn_valid(page_to_pfn(page));

		nr = MIN(bytes - at, PAGE_SIZE - offset);
		if (there)
			memcpy(buf + at, page_address(page) + offset, nr);
		else
			memset(buf + at, 0, nr);
		irq_restore(flags);
		any |= there;
	}
	return any ? bytes : 0;
}

/* Leaves of 2 MiB */

/*
 * A leaf over the table, which is ours alone and stays, with entries for the same pages: whichever
 * of the two a CPU remembers, now and when the leaf is split, it comes to the same frames. Not in
 * an interrupt, which it would make too long.
 */
u64 vm_fill_huge(struct vm_request *rq, pte_t *table, u64 nr)
{
	bool whole = nr == PT_ENTRIES && !in_interrupt();
	struct page *page = whole ? alloc_pages(__GFP_NORECLAIM, 9) : NULL;
	int level;

	if (!page)
		return vm_fill_stock(rq, table, nr);
	for (u64 i = PT_ENTRIES; i-- > 0;) {
		page[i] = (struct page){ .owner = page->owner,
					 .state_and_order = PAGE_IS(PG_VMALLOC, 0) };
		pte_set(&table[i], pte_make_leaf(page_to_phys(page + i), 1, PAGE_KERNEL));
	}
	page[1].next = page_to_pfn(virt_to_page(table));
	pte_set(pt_walk(&kernel_pt, rq->va + (rq->done << PAGE_SHIFT), 2, &level),
		pte_make_leaf(page_to_phys(page), 2, PAGE_KERNEL));
	rq->mixed = true;
	return nr;
}

/* The level-1 entry. A leaf there gives way to its table. */
static pte_t *plain_entry(vaddr_t va)
{
	int level;
	pte_t *entry = pt_walk(&kernel_pt, va, 1, &level);
	struct page *page = pfn_to_page(paddr_to_pfn(pte_paddr(pte_get(entry), level)));

	if (level > 1)
		pte_set(entry, pte_make_table(page_to_phys(pfn_to_page(page[1].next))));
	return pt_entry(&kernel_pt, va);
}

/* Protections */

/* True: there were such pages. Flush. */
static bool protect(vaddr_t va, vaddr_t end, pgprot_t from, pgprot_t to)
{
	bool any = false;

	for (; va < end; va += PAGE_SIZE) {
		pte_t *entry = plain_entry(va), was = pte_get(entry);

		if (pte_pgprot(was) == from) {
			pte_set(entry, pte_make_leaf(pte_paddr(was, 1), 1, to));
			any = true;
		}
	}
	return any;
}

/* Of pages that are not executable: from now on, on every CPU, their frames are code, or no longer. */
static bool mark(vaddr_t va, vaddr_t end, bool code)
{
	bool enough = true; /* memory, to split the direct map's leaves */

	for (; enough && va < end; va += PAGE_SIZE) {
		pte_t pte = pte_get(plain_entry(va));
		struct page *page = pfn_to_page(paddr_to_pfn(pte_paddr(pte, 1)));

		if (pte_pgprot(pte) == PAGE_KERNEL_ROX || code == (page->state == PG_TEXT))
			continue;
		enough = !pt_protect(&kernel_pt, (vaddr_t)page_address(page), 1,
				     code ? PAGE_KERNEL_RO : PAGE_KERNEL);
		if (enough)
			page->state = code ? PG_TEXT : PG_VMALLOC;
	}
	tlb_flush_all(); /* it also ends each vmap that did not see the mark yet */
	return enough;
}

/* Does a vmap let code be written? */
static bool is_writable_elsewhere(void)
{
	vaddr_t va = VMALLOC_START;
	pte_t pte;

	for (int level; window_next(&va, true, &pte, &level); va += level_bytes(level)) {
		u64 pfn = paddr_to_pfn(pte_paddr(pte, level));

		if (pte_present(pte) && pte_pgprot(pte) == PAGE_KERNEL && pfn_valid(pfn) &&
		    pfn_to_page(pfn)->state == PG_TEXT)
			return true;
	}
	return false;
}

/* Any page may become read-only; more is given only where each has that already, or is read-only. */
static int may_change(vaddr_t va, u64 nr_pages, pgprot_t from, pgprot_t to)
{
	struct vm_area area;
	struct mapping m;
	pte_t *guard, was;

	if (!IS_ALIGNED(va, PAGE_SIZE) || !nr_pages || !find_vm_area(va, &area) ||
	    area.kind != VM_ALLOC || va < area.start ||
	    nr_pages > (vm_area_end(&area) - va) >> PAGE_SHIFT)
		return -EINVAL;
	for (u64 i = 0; i < nr_pages; i++)
		if (!pt_lookup(&kernel_pt, va + (i << PAGE_SHIFT), &m) ||
		    (from == PAGE_KERNEL_RO && m.prot != from && m.prot != to))
			return -EACCES;
	guard = pt_entry(&kernel_pt, area.start - PAGE_SIZE);
	was = pte_get(guard);
	return pte_replace(guard, was, (pte_t){ was.v | AREA_MIXED }) ? 0 : -EINVAL;
}

static int change(vaddr_t va, vaddr_t end, pgprot_t from, pgprot_t to)
{
	int error = 0;

	if (to == PAGE_KERNEL_ROX && !mark(va, end, true))
		error = -ENOMEM;
	else if (to == PAGE_KERNEL_ROX && is_writable_elsewhere())
		error = -EACCES;
	else if (protect(va, end, from, to))
		tlb_flush_range(va, (end - va) >> PAGE_SHIFT);
	else
		return 0;
	if (error || from == PAGE_KERNEL_ROX)
		mark(va, end, false);
	return error;
}

/* The flush that is still due is the one that the frames wait for before they are used. */
void vm_make_plain(vaddr_t va, vaddr_t end)
{
	change(va, end, PAGE_KERNEL_ROX, PAGE_KERNEL_RO);
	protect(va, end, PAGE_KERNEL_RO, PAGE_KERNEL);
}

int set_memory(vaddr_t va, u64 nr_pages, pgprot_t from, pgprot_t to)
{
	static bool busy; /* one CPU at a time; atomic */
	int error;

	if (in_interrupt())
		return -EINVAL;
	while (__atomic_exchange_n(&busy, true, __ATOMIC_ACQUIRE))
		cpu_serve();
	error = may_change(va, nr_pages, from, to) ?:
			change(va, va + (nr_pages << PAGE_SHIFT), from, to);
	__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
	return error;
}
