/*
 * pagetable.c - the page walk, and all that changes page tables.
 *
 * Page tables are a tree. A table is one frame: 512 entries of 8 bytes. Nine bits of the virtual
 * address choose the entry at each level; an entry is empty, or leads to the next table, or is a
 * leaf: it maps a page, of 4 KiB at level 1, of 2 MiB at level 2, of 1 GiB at level 3.
 *
 *	 63      48 47     39 38     30 29     21 20     12 11        0
 *	+----------+---------+---------+---------+---------+-----------+
 *	| = bit 47 | 4: PML4 | 3: PDPT |  2: PD  |  1: PT  | in a page |
 *	+----------+---------+---------+---------+---------+-----------+
 *
 * pt_walk() is what the CPU does on a TLB miss, and all else is made of it: walk towards an
 * address, look at the entry where the walk ended, step over all that it serves.
 *
 * What can fail comes before any change: look at the range, count the tables that are missing, take
 * that many in stock. From then on nothing fails, and nothing ever has to be undone.
 */
#include <mm/memmap.h>
#include <mm/page_alloc.h>
#include <mm/pagetable.h>

struct pagetable kernel_pt = { .source = &memmap_tables };

pte_t *pt_walk(const struct pagetable *pt, vaddr_t va, int stop, int *level)
{
	pte_t *table = pt->root;

	for (*level = pt->levels;; --*level) {
		pte_t *entry = &table[level_index(va, *level)];
		pte_t pte = pte_get(entry);

		if (*level == stop || !pte_present(pte) || pte_is_leaf(pte, *level))
			return entry;
		table = phys_to_virt(pte_paddr(pte, *level));
	}
}

bool pt_lookup(const struct pagetable *pt, vaddr_t va, struct mapping *m)
{
	pte_t pte = pte_get(pt_walk(pt, va, 1, &m->level));

	if (!pte_present(pte) || !va_canonical(va, pt->levels))
		return false;
	m->bytes = level_bytes(m->level);
	m->va = ALIGN_DOWN(va, m->bytes);
	m->pa = pte_paddr(pte, m->level);
	m->prot = pte_pgprot(pte);
	return true;
}

/* Behind all that the entry serves where a walk towards at ended. Folded addresses do not wrap. */
static u64 step(u64 at, int level)
{
	return ALIGN_DOWN(at, level_bytes(level)) + level_bytes(level);
}

static pte_t *search(const struct pagetable *pt, vaddr_t *va, vaddr_t until, bool up, int *level)
{
	s64 at = va_fold(*va, pt->levels), last = va_fold(until, pt->levels);

	while (up ? at <= last : at >= last) {
		pte_t *entry = pt_walk(pt, at, 1, level);
		u64 behind = step(at, *level), first = behind - level_bytes(*level);

		if (!pte_none(pte_get(entry))) {
			*va = va_unfold(first, pt->levels);
			return entry;
		}
		at = up ? behind : first - 1;
	}
	return NULL;
}

pte_t *pt_next(const struct pagetable *pt, vaddr_t *va, vaddr_t end, int *level)
{
	return search(pt, va, end - 1, true, level);
}

pte_t *pt_prev(const struct pagetable *pt, vaddr_t *va, vaddr_t start, int *level)
{
	return search(pt, va, start, false, level);
}

/* A range of pages, folded: where it begins and, 2^48 or 2^57 at most, where it ends. */
static u64 fold_range(const struct pagetable *pt, vaddr_t va, u64 nr_pages, u64 *end)
{
	u64 start = va_fold(va, pt->levels);

	BUG_ON(!IS_ALIGNED(va, PAGE_SIZE) || !va_canonical(va, pt->levels) ||
	       nr_pages > (level_bytes(pt->levels + 1) - start) >> PAGE_SHIFT);
	*end = start + (nr_pages << PAGE_SHIFT);
	return start;
}

/* The largest leaf, at most of level max, that fits between at and the end. */
static int leaf_level(u64 at, u64 end, int max)
{
	while (max > 1 && (!IS_ALIGNED(at, level_bytes(max)) || step(at, max) > end))
		max--;
	return max;
}

/*
 * Put a table from stock where the walk to at ended: in place of nothing, or of a leaf, and then of
 * 512 smaller ones. A stock is a list, each table's first entry leads to the next.
 */
static pte_t *put_table(pte_t *entry, u64 at, int level, pte_t **stock)
{
	pte_t *table = *stock, pte = pte_get(entry);
	u64 pa = pte_paddr(pte, level--).v;

	*stock = (pte_t *)table->v;
	table->v = 0;
	for (int i = 0; pte_present(pte) && i < PT_ENTRIES; i++, pa += level_bytes(level))
		table[i] = pte_make_leaf(paddr(pa), level, pte_pgprot(pte) | pte_type(pte));
	pte_set(entry, pte_make_table(virt_to_phys(table)));
	return &table[level_index(at, level)];
}

/*
 * Tables on the way to each of the leaves, of level max at most, that can make up the range. How
 * many; stock NULL: only count them, each where its first leaf is.
 */
static u64 put_tables(const struct pagetable *pt, u64 start, u64 end, int max, pte_t **stock)
{
	u64 nr = 0;
	int level;

	for (u64 at = start; at < end; at = step(at, MAX(level, 2))) {
		pte_t *entry = pt_walk(pt, at, 1, &level);

		for (int wanted = leaf_level(at, end, max); level > wanted; level--) {
			nr += at == start || IS_ALIGNED(at, level_bytes(level));
			if (stock)
				entry = put_table(entry, at, level, stock);
		}
	}
	return nr;
}

static int make_tables(const struct pagetable *pt, u64 start, u64 end, int max)
{
	u64 missing = put_tables(pt, start, end, max, NULL);
	pte_t *stock = NULL, *table;

	for (; missing && (table = pt->source->get()); missing--) {
		table->v = (u64)stock;
		stock = table;
	}
	if (!missing) {
		put_tables(pt, start, end, max, &stock);
		return 0;
	}
	for (; stock && pt->source->put; stock = table) {
		table = (pte_t *)stock->v;
		pt->source->put(stock);
	}
	return -ENOMEM;
}

int pt_map(struct pagetable *pt, vaddr_t va, paddr_t pa, u64 nr_pages, pgprot_t prot)
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);
	int error, level, max = address_map.leaf_levels;

	BUG_ON(!IS_ALIGNED(pa.v, PAGE_SIZE) || prot == PAGE_NONE);
	if (nr_pages && pt_next(pt, &va, va + (nr_pages << PAGE_SHIFT), &level))
		return -EEXIST;
	while (!IS_ALIGNED(start - pa.v, level_bytes(max)))
		max--;
	error = make_tables(pt, start, end, max);
	for (u64 at = start; !error && at < end; at = step(at, level)) {
		pte_t *entry = pt_walk(pt, at, 1, &level);

		pte_set(entry, pte_make_leaf(paddr(pa.v + at - start), level, prot));
	}
	return error;
}

int pt_populate(struct pagetable *pt, vaddr_t va, u64 nr_pages)
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);

	return make_tables(pt, start, end, 1);
}

int pt_protect(struct pagetable *pt, vaddr_t va, u64 nr_pages, pgprot_t prot)
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);
	int error, level;

	for (u64 at = start; at < end; at = step(at, level))
		if (!pte_present(pte_get(pt_walk(pt, at, 1, &level))))
			return -ENOENT;
	error = make_tables(pt, start, end, pt->levels);
	for (u64 at = start; !error && at < end; at = step(at, level)) {
		pte_t *entry = pt_walk(pt, at, 1, &level), pte = pte_get(entry), none = { 0 };

		pte_set(entry,
			prot ? pte_make_leaf(pte_paddr(pte, level), level, prot | pte_type(pte)) :
			       none);
	}
	return error;
}

/* Bottom up, so that a table is unlinked after those that it leads to. */
void pt_prune(struct pagetable *pt, vaddr_t va, u64 nr_pages, vaddr_t lo, vaddr_t hi,
	      void (*gone)(pte_t *table))
{
	u64 end, start = fold_range(pt, va, nr_pages, &end);

	for (int level = 2, found; level <= pt->levels; level++)
		for (u64 at = start; at < end; at = step(at, found)) {
			pte_t *entry = pt_walk(pt, at, level, &found), pte = pte_get(entry);
			u64 first = ALIGN_DOWN(at, level_bytes(level));

			if (!pte_present(pte) || first < va_fold(lo, pt->levels) ||
			    step(at, level) - 1 > va_fold(hi - 1, pt->levels))
				continue;
			BUG_ON(pte_is_leaf(pte, found));
			pte_set(entry, (pte_t){ 0 });
			gone(phys_to_virt(pte_paddr(pte, level)));
		}
}

u64 pt_count_tables(const struct pagetable *pt)
{
	u64 tables = 1;

	for (int level = 2, found; level <= pt->levels; level++)
		for (u64 at = 0; at < level_bytes(pt->levels + 1); at = step(at, found)) {
			pte_t pte = pte_get(pt_walk(pt, at, level, &found));

			tables += pte_present(pte) && !pte_is_leaf(pte, found);
		}
	return tables;
}

static pte_t *early_get(void)
{
	paddr_t pa = memmap_alloc(&memmap, PAGE_SIZE, PAGE_SIZE, 4 * GiB, MEM_TABLES);

	return pa.v ? memset(phys_to_virt(pa), 0, PAGE_SIZE) : NULL;
}

static pte_t *frame_get(void)
{
	struct page *page = alloc_pages(__GFP_ZERO | __GFP_NORECLAIM, 0);

	if (page)
		page->state = PG_TABLE;
	return page ? page_address(page) : NULL;
}

static void frame_put(pte_t *table)
{
	virt_to_page(table)->state = PG_ALLOC;
	free_pages(table, 0);
}

struct page_source memmap_tables = { early_get, NULL };
struct page_source page_alloc_tables = { frame_get, frame_put };
