/*
 * vmalloc.c - scattered frames, laid side by side in the window.
 *
 * Three parts meet here: vmarea gives addresses, page_alloc gives frames, pagetable joins them. The
 * frames of an area may lie anywhere; its entries, one a page, say where:
 *
 *	window    | guard | page 0 | page 1 | page 2 | guard of the next …
 *	entry     | note  | 0x7d12 | 0x1044 | 0x3c61 | note
 *
 * The page table is the record. A guard page is not mapped, and of an entry that is not present
 * the CPU ignores all but bit 0 (SDM 3A 4.5), so the guard's entry holds the area's descriptor:
 *
 *	 63                31 30         7 6    3   2   1   0
 *	|      nr_pages      |   caller   | kind | 1 |   | 0 |
 *
 * Bit 2 tells a descriptor from other notes: in a mapping it would be U, which the kernel never sets.
 * There is no other list of areas: whoever can read page tables (vmallocinfo, the fault report, a
 * debugger) can read who asked for what.
 *
 * Freeing goes in two steps, with a flush of all TLBs between them (see tlb.c):
 *
 *	vfree    claim the area by one atomic exchange of its guard's entry, so that of two CPUs that
 *		 free it only one can go on; clear the present bits. The entries still tell
 *		 the frames, which still belong to the area.
 *	release  give the frames to page_alloc, clear the entries, give the addresses to vmarea, and
 *		 unlink the page tables whose whole span is now free.
 *
 * Neither step needs memory. An allocation that fails half-way takes the same road back.
 */
#include <kernel/panic.h>
#include <mm/pagetable.h>
#include <mm/vmalloc.h>

#define BULK 64 /* frames moved at a time */

struct vmwindow vmalloc_window;

/*
 * Held while tables come and go together with the addresses they serve: addresses that are free
 * for sure may have their tables unlinked, addresses just allocated get theirs.
 */
static struct spinlock tables_lock = SPINLOCK("vmalloc tables", LOCK_TABLES);

static struct vmalloc_stats now; /* the counted part: areas, used, freed_areas, frames; atomic */

static void count(u64 *counter, s64 change)
{
	__atomic_add_fetch(counter, change, __ATOMIC_RELAXED);
}

/* Descriptors */

#define NOTE_IS_AREA (1ul << 2)
#define NOTE_KIND_SHIFT 3
#define NOTE_CALLER_SHIFT 7
#define NOTE_PAGES_SHIFT 31
#define AREA_MAX_PAGES ((1ul << 33) - 1)

_Static_assert(VM_NR_KINDS <= 16, "a kind has 4 bits");

static pte_t area_encode(const struct vm_area *area, enum vm_kind kind)
{
	return pte_make_note(NOTE_IS_AREA | (u64)kind << NOTE_KIND_SHIFT |
			     (u64)(area->caller & 0xffffff) << NOTE_CALLER_SHIFT |
			     area->nr_pages << NOTE_PAGES_SHIFT);
}

bool vm_area_decode(pte_t entry, vaddr_t guard, struct vm_area *area)
{
	if (pte_present(entry) || !(entry.v & NOTE_IS_AREA))
		return false;
	area->start = guard + PAGE_SIZE;
	area->kind = entry.v >> NOTE_KIND_SHIFT & 15;
	area->caller = entry.v >> NOTE_CALLER_SHIFT & 0xffffff;
	area->nr_pages = entry.v >> NOTE_PAGES_SHIFT;
	return true;
}

bool find_vm_area(vaddr_t va, struct vm_area *area)
{
	vaddr_t at = ALIGN_DOWN(va, PAGE_SIZE);
	int level;

	if (!is_vmalloc_addr((void *)va))
		return false;
	for (;;) {
		pte_t *entry = pt_prev(&kernel_pt, &at, VMALLOC_START, &level);

		if (!entry)
			return false;
		if (vm_area_decode(pte_get(entry), at, area))
			return va < vm_area_end(area);
		at -= PAGE_SIZE; /* the guard comes first in an area: at is not the window's start */
	}
}

bool next_vm_area(vaddr_t va, struct vm_area *area)
{
	vaddr_t at = MAX(va, VMALLOC_START + PAGE_SIZE) - PAGE_SIZE;
	pte_t *entry;
	int level;

	while ((entry = pt_next(&kernel_pt, &at, VMALLOC_END, &level))) {
		if (vm_area_decode(pte_get(entry), at, area))
			return true;
		at += level_bytes(level);
	}
	return false;
}

/* Moving frames in and out of entries */

/* The entry for va, given that of the page before: the next one, or the first of the next table. */
static pte_t *step(pte_t *entry, vaddr_t va)
{
	return level_index(va, 1) ? entry + 1 : pt_entry(&kernel_pt, va);
}

static void map_frames(vaddr_t va, struct page **pages, u64 nr_pages, pgprot_t prot)
{
	pte_t *entry = pt_entry(&kernel_pt, va - PAGE_SIZE);

	for (u64 i = 0; i < nr_pages; i++, va += PAGE_SIZE) {
		entry = step(entry, va);
		pte_set(entry, pte_make_leaf(page_to_phys(pages[i]), 1, prot));
	}
}

/* Map fresh frames. On failure some pages may be mapped already: their entries say which. */
static bool fill_area(const struct vm_area *area, gfp_t gfp)
{
	struct page *pages[BULK];
	u64 nr;

	for (u64 done = 0; done < area->nr_pages; done += nr) {
		nr = MIN(BULK, area->nr_pages - done);
		if (!alloc_pages_bulk(gfp, nr, pages))
			return false;
		for (u64 i = 0; i < nr; i++)
			page_set_owner(pages[i], PG_VMALLOC, address_map.image + area->caller);
		map_frames(area->start + (done << PAGE_SHIFT), pages, nr, PAGE_KERNEL);
		count(&now.frames, nr);
	}
	return true;
}

/* Make the pages unreachable. Entries of frames that are the area's own go on to tell which. */
static void clear_present(const struct vm_area *area, bool own_frames)
{
	pte_t *entry = pt_entry(&kernel_pt, area->start - PAGE_SIZE);

	for (vaddr_t va = area->start; va < vm_area_end(area); va += PAGE_SIZE) {
		entry = step(entry, va);
		pte_set(entry, own_frames ? pte_make_note(pte_get(entry).v) : (pte_t){ 0 });
	}
}

/* After the flush: empty all entries from the guard's on, give back the frames they told. */
static void empty_area(vaddr_t guard, u64 nr_pages)
{
	pte_t *entry = pt_entry(&kernel_pt, guard);
	struct page *pages[BULK];
	u64 nr = 0;

	pte_set(entry, (pte_t){ 0 });
	for (vaddr_t va = guard + PAGE_SIZE; --nr_pages; va += PAGE_SIZE) {
		pte_t old;

		entry = step(entry, va);
		old = pte_exchange(entry, (pte_t){ 0 });
		if (!pte_none(old)) {
			pages[nr] = pfn_to_page(paddr_to_pfn(pte_paddr(old, 1)));
			pages[nr++]->state = PG_ALLOC;
		}
		if (nr < BULK && nr_pages > 1)
			continue;
		free_pages_bulk(nr, pages);
		count(&now.frames, -(s64)nr);
		nr = 0;
	}
}

/* Areas */

static void release_area(struct tlb_deferred *deferred)
{
	struct vmrange *range = container_of(deferred, struct vmrange, deferred);
	vaddr_t guard = range->start << PAGE_SHIFT, lo, hi;
	u64 nr_pages = range->nr_pages;
	irqflags_t flags;

	empty_area(guard, nr_pages);
	count(&now.freed_areas, -1);
	flags = spin_lock(&tables_lock);
	vmarea_free(&vmalloc_window, range, &lo, &hi);
	if (hi + PAGE_SIZE > VMALLOC_END) /* only the last page, which is never used, lies behind */
		hi = ALIGN_UP(hi, level_bytes(address_map.levels));
	pt_prune(&kernel_pt, guard, nr_pages, lo, hi, tlb_defer_table);
	spin_unlock(&tables_lock, flags);
}

/* The area is claimed: its guard says VM_FREED. */
static void retire_area(const struct vm_area *area, bool own_frames)
{
	struct vmrange *range = vmarea_retire(&vmalloc_window, area->start, area->nr_pages);

	clear_present(area, own_frames);
	count(&now.freed_areas, 1);
	range->deferred.release = release_area;
	tlb_defer(&range->deferred, area->nr_pages);
}

static void set_guard(const struct vm_area *area, enum vm_kind kind)
{
	pte_set(pt_entry(&kernel_pt, area->start - PAGE_SIZE), area_encode(area, kind));
}

/* Addresses for area->nr_pages, with all their page tables. Sets area->start; false if no room. */
static bool reserve_area(struct vm_area *area)
{
	vaddr_t lo, hi, guard;
	struct vmrange *range;
	irqflags_t flags = spin_lock(&tables_lock);
	bool ok = !vmarea_alloc(&vmalloc_window, area->nr_pages, PAGE_SIZE, VMALLOC_START,
				VMALLOC_END, &area->start);

	guard = area->start - PAGE_SIZE;
	if (ok && pt_populate(&kernel_pt, guard, area->nr_pages + 1)) {
		range = vmarea_retire(&vmalloc_window, area->start, area->nr_pages);
		vmarea_free(&vmalloc_window, range, &lo, &hi);
		ok = false;
	}
	spin_unlock(&tables_lock, flags);
	return ok;
}

static void publish_area(const struct vm_area *area)
{
	set_guard(area, area->kind);
	count(&now.areas, 1);
	count(&now.used, area->nr_pages);
}

static void *try_vmalloc(struct vm_area *area, gfp_t gfp)
{
	if (area->nr_pages > nr_free_pages() || !reserve_area(area))
		return NULL;
	if (!fill_area(area, gfp)) {
		set_guard(area, VM_FREED);
		retire_area(area, true);
		return NULL;
	}
	publish_area(area);
	return (void *)area->start;
}

/* What waits for a flush may be what is missing: on failure, flush and try once more. */
static void *vmalloc_area(u64 bytes, gfp_t gfp, vaddr_t caller)
{
	u64 nr_pages = (bytes >> PAGE_SHIFT) + !IS_ALIGNED(bytes, PAGE_SIZE);
	struct vm_area area = { 0, nr_pages, VM_ALLOC, caller - address_map.image };
	void *p;

	if (!nr_pages || nr_pages > AREA_MAX_PAGES)
		return NULL;
	p = try_vmalloc(&area, gfp);
	if (!p && tlb_purge())
		p = try_vmalloc(&area, gfp);
	return p;
}

void *vmalloc(u64 bytes)
{
	return vmalloc_area(bytes, GFP_KERNEL, CALLER());
}

void *vzalloc(u64 bytes)
{
	return vmalloc_area(bytes, __GFP_ZERO, CALLER());
}

void *vmap(struct page **pages, u64 nr_pages, pgprot_t prot)
{
	struct vm_area area = { 0, nr_pages, VM_MAP, CALLER() - address_map.image };

	if (!nr_pages || nr_pages > AREA_MAX_PAGES ||
	    (prot != PAGE_KERNEL && prot != PAGE_KERNEL_RO))
		return NULL;
	for (u64 i = 0; i < nr_pages; i++)
		if (pages[i]->state == PG_RESERVED || pages[i]->state == PG_TABLE ||
		    pages[i]->state == PG_FREE)
			return NULL;
	if (!reserve_area(&area) && (!tlb_purge() || !reserve_area(&area)))
		return NULL;
	map_frames(area.start, pages, nr_pages, prot);
	publish_area(&area);
	return (void *)area.start;
}

/* Freeing */

/* Say what this is instead of the start of an area that the call could free. */
static _Noreturn void bad_pointer(const char *call, vaddr_t va)
{
	const char *what, *advice;
	struct vm_area area;

	if (!is_vmalloc_addr((void *)va))
		panic("%s: 0x%lx is not in the vmalloc window\n  which is 0x%lx-0x%lx\n"
		      "  pass what vmalloc or vmap returned (kmalloc's pointers go to kfree)",
		      call, va, VMALLOC_START, VMALLOC_END);
	if (!find_vm_area(va, &area))
		panic("%s: 0x%lx lies in no area\n  it was never allocated, or freed and flushed "
		      "since\n  look for a second %s of this pointer",
		      call, va, call);
	if (va != area.start) {
		what = "is not the start of an area";
		advice = va < area.start ? "that is its guard; pass what its allocation returned" :
					   "pass the pointer that its allocation returned";
	} else if (area.kind == VM_FREED) {
		what = "is freed already, and waits for the flush";
		advice = "look for a second free of this pointer";
	} else {
		what = "is an area of another kind";
		advice = area.kind == VM_MAP ? "give it back with vunmap" :
					       "give it back with vfree";
	}
	panic("%s: 0x%lx %s\n  it lies in page %ld of %lu of 0x%lx-0x%lx, %s by %pS\n  %s", call,
	      va, what, (s64)(va - area.start) >> PAGE_SHIFT, area.nr_pages, area.start,
	      vm_area_end(&area), vm_kind_name(area.kind),
	      (void *)(address_map.image + area.caller), advice);
}

/* Of all who try to free an area, one gets it. On false nothing has changed. */
static bool claim_area(vaddr_t va, enum vm_kind kind, struct vm_area *area)
{
	vaddr_t guard = va - PAGE_SIZE;
	pte_t *entry, old;
	int level;

	if (!IS_ALIGNED(va, PAGE_SIZE) || !is_vmalloc_addr((void *)guard))
		return false;
	entry = pt_walk(&kernel_pt, guard, 1, &level);
	if (level != 1 || !vm_area_decode(pte_get(entry), guard, area) || area->kind != kind)
		return false;
	old = pte_exchange(entry, area_encode(area, VM_FREED));
	return vm_area_decode(old, guard, area) && area->kind == kind;
}

static void free_area(const char *call, const void *p, enum vm_kind kind)
{
	struct vm_area area;

	if (!claim_area((vaddr_t)p, kind, &area))
		bad_pointer(call, (vaddr_t)p);
	count(&now.areas, -1);
	count(&now.used, -(s64)area.nr_pages);
	retire_area(&area, kind != VM_MAP);
}

void vfree(const void *p)
{
	if (p)
		free_area("vfree", p, VM_ALLOC);
}

void vunmap(const void *p)
{
	if (p)
		free_area("vunmap", p, VM_MAP);
}

/* Looking */

struct page *vmalloc_to_page(const void *p)
{
	struct mapping m;

	if (!is_vmalloc_addr(p) || !pt_lookup(&kernel_pt, (vaddr_t)p, &m))
		return NULL;
	return pfn_to_page(paddr_to_pfn(m.pa) + (((vaddr_t)p - m.va) >> PAGE_SHIFT));
}

void vmalloc_stats(struct vmalloc_stats *stats)
{
	u64 largest = vmwindow_largest(&vmalloc_window);

	*stats = now;
	stats->window = (VMALLOC_END - VMALLOC_START + 1) >> PAGE_SHIFT;
	stats->free = vmalloc_window.pages_free;
	stats->largest = largest ? largest - 1 : 0;
}

void vmalloc_init(void)
{
	if (vmwindow_init(&vmalloc_window, VMALLOC_START, VMALLOC_END + 1))
		panic("vmalloc: no memory for the window's first node\n  the machine has too little RAM");
}
