/*
 * kasan_window.c - vmalloc and its kin: shadow comes with an area and goes with its addresses.
 *
 * The window is far too large for its shadow to be there at all times. A page of shadow stands for
 * eight pages of the window. It is mapped when the first area comes near, all of it red zone, and
 * unmapped when all eight pages are free addresses again: then (vmarea_free) no area, not even one
 * that waits for its flush, has any of them. Frames and tables for it are a stock of our own, so that
 * the counts of mm/ stay as they are. A page of shadow that was unmapped may still be in a TLB: so
 * the next one to be mapped waits for a flush.
 *
 * Where no shadow is mapped there is no area, and nothing may be touched: kasan.c.
 */
#include <arch/cpu.h>
#include <kernel/panic.h>
#include <kernel/spinlock.h>
#include <mm/mm.h>
#include <mm/pagetable.h>
#include <mm/vmalloc.h>

#include "kasan.h"

#define REMEMBERED 512 /* areas that were freed last */

#define WRAP(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__);
WRAP(void *, vmalloc, u64 bytes)
WRAP(void *, __vmalloc, u64 bytes, gfp_t gfp)
WRAP(void *, __vmalloc_range, u64 bytes, u64 align, vaddr_t lo, vaddr_t hi, gfp_t gfp,
     pgprot_t prot, unsigned flags)
WRAP(void *, vrealloc, const void *p, u64 bytes, gfp_t gfp)
WRAP(void *, vmap, struct page **pages, u64 count, pgprot_t prot)
WRAP(void *, vmap_put_pages, struct page **pages, u64 count)
WRAP(void *, vmap_pfn, const u64 *pfns, u64 count, pgprot_t prot)
WRAP(void *, ioremap_prot, paddr_t pa, u64 bytes, pgprot_t prot)
WRAP(void *, alloc_kernel_stack, u64 bytes)
WRAP(void, vfree, const void *p)
WRAP(void, vunmap, const void *p)
WRAP(void, iounmap, const volatile void *p)
WRAP(void, free_kernel_stack, const void *stack)
WRAP(void, vmarea_free, struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
WRAP(u64, pt_count_tables, const struct pagetable *pt)

/* The stock */

static struct spinlock shadow_lock = SPINLOCK("KASAN shadow", LOCK_PAGES);
static void **stock;	   /* shadow_lock; free frames, each leads to the next */
static u64 tables;	   /* shadow_lock; those that are linked */
static u64 unmapped_flush; /* atomic; the flush that the last to be unmapped needs */

static void put_frame(void *frame)
{
	*(void **)frame = stock;
	stock = frame;
}

static void *get_frame(u8 fill)
{
	void **frame = stock;

	if (!frame)
		return NULL;
	stock = *frame;
	return memset(frame, fill, PAGE_SIZE);
}

static pte_t *get_table(void)
{
	pte_t *table = get_frame(0);

	tables += table != NULL;
	return table;
}

static void put_table(pte_t *table)
{
	tables--;
	put_frame(table);
}

static struct page_source source = { get_table, put_table };
static struct pagetable shadow_pt = { .source = &source };

/* A page an area, and its tables, are a page of shadow for two of the window: a quarter of RAM. */
void kasan_window_init(void)
{
	u64 left = memmap_bytes(&memmap, MEM_USABLE) / 6;
	paddr_t pa;

	shadow_pt.root = kernel_pt.root;
	shadow_pt.levels = kernel_pt.levels;
	for (; left >= MiB &&
	       (pa = memmap_alloc(&memmap, MiB, PAGE_SIZE, MEMMAP_LIMIT, MEM_VMEMMAP)).v;
	     left -= MiB)
		for (u64 at = 0; at < MiB; at += PAGE_SIZE)
			put_frame((char *)phys_to_virt(pa) + at);
}

/* mm_check() compares page tables that are linked with those that mm/ made. */
u64 __wrap_pt_count_tables(const struct pagetable *pt)
{
	return __real_pt_count_tables(pt) - (pt == &kernel_pt ? tables : 0);
}

static bool is_mapped(vaddr_t shadow)
{
	struct mapping m;

	return pt_lookup(&shadow_pt, shadow, &m);
}

static bool map_page(vaddr_t shadow)
{
	irqflags_t flags = spin_lock(&shadow_lock);
	void *frame = NULL;
	bool mapped = is_mapped(shadow);

	if (!mapped && (frame = get_frame(SHADOW_WINDOW)))
		mapped = !pt_map(&shadow_pt, shadow, virt_to_phys(frame), 1, PAGE_KERNEL);
	if (!mapped && frame)
		put_frame(frame);
	spin_unlock(&shadow_lock, flags);
	return mapped;
}

/* Of all pages of this area and its guard. False: no memory, or an interrupt, which cannot flush. */
static bool map_shadow(vaddr_t va, vaddr_t end)
{
	vaddr_t shadow = ALIGN_DOWN((vaddr_t)SHADOW(va - PAGE_SIZE), PAGE_SIZE);
	u64 flush = __atomic_load_n(&unmapped_flush, __ATOMIC_ACQUIRE);

	for (; shadow < (vaddr_t)SHADOW(end); shadow += PAGE_SIZE) {
		if (is_mapped(shadow))
			continue;
		if (!tlb_flushed(flush)) {
			if (in_interrupt())
				return false;
			tlb_flush(flush);
		}
		if (!map_page(shadow))
			return false;
	}
	return true;
}

static void unmap_page(vaddr_t shadow)
{
	struct mapping m;

	if (!pt_lookup(&shadow_pt, shadow, &m))
		return;
	BUG_ON(pt_protect(&shadow_pt, shadow, 1, PAGE_NONE));
	put_frame(phys_to_virt(m.pa));
}

/* [lo, hi) is free now; of that only what this area had a part in can have shadow. */
void __wrap_vmarea_free(struct vmwindow *w, vaddr_t va, u64 nr_pages, vaddr_t *lo, vaddr_t *hi)
{
	vaddr_t end = va + (nr_pages << PAGE_SHIFT), from, to, first, last;
	irqflags_t flags;

	__real_vmarea_free(w, va, nr_pages, lo, hi);
	if (w != &vmalloc_window)
		return;
	from = ALIGN_UP((vaddr_t)SHADOW(*lo), PAGE_SIZE);
	to = (vaddr_t)SHADOW(*hi + PAGE_SIZE > VMALLOC_END ? ALIGN_UP(*hi, 8 * PAGE_SIZE) : *hi);
	first = ALIGN_DOWN((vaddr_t)SHADOW(va - PAGE_SIZE), PAGE_SIZE);
	last = ALIGN_UP((vaddr_t)SHADOW(end), PAGE_SIZE);
	first = MAX(first, from);
	last = MIN(last, ALIGN_DOWN(to, PAGE_SIZE));
	flags = spin_lock(&shadow_lock);
	for (vaddr_t at = first; at < last; at += PAGE_SIZE)
		unmap_page(at);
	if (first < last) {
		pt_prune(&shadow_pt, first, (last - first) >> PAGE_SHIFT, from, to, put_table);
		__atomic_store_n(&unmapped_flush, tlb_next_flush(), __ATOMIC_RELEASE);
	}
	for (vaddr_t at = va - PAGE_SIZE; at < end; at += PAGE_SIZE)
		if (is_mapped((vaddr_t)SHADOW(at))) /* it does not tell of this area any more */
			kasan_poison((void *)at, PAGE_SIZE, SHADOW_WINDOW);
	spin_unlock(&shadow_lock, flags);
}

/* Areas */

/* So many bytes of this area may be touched, and its descriptor names who asked us. */
static void *new_area(void *p, u64 bytes, void (*free)(const void *), vaddr_t caller)
{
	struct vm_area area;
	pte_t *guard;

	if (!p)
		return NULL;
	BUG_ON(!find_vm_area((vaddr_t)p, &area));
	if (!map_shadow(area.start, vm_area_end(&area))) {
		free(p);
		return NULL;
	}
	guard = pt_entry(&kernel_pt, area.start - PAGE_SIZE);
	pte_set(guard, (pte_t){ vm_area_encode(area.kind, area.nr_pages, caller).v |
				(pte_get(guard).v & AREA_MIXED) });
	kasan_allow_of((void *)area.start, bytes, area.nr_pages << PAGE_SHIFT, SHADOW_WINDOW);
	return p;
}

void *__wrap_vmalloc(u64 bytes)
{
	return new_area(__real_vmalloc(bytes), bytes, __real_vfree, CALLER());
}

void *__wrap___vmalloc(u64 bytes, gfp_t gfp)
{
	return new_area(__real___vmalloc(bytes, gfp), bytes, __real_vfree, CALLER());
}

void *__wrap___vmalloc_range(u64 bytes, u64 align, vaddr_t lo, vaddr_t hi, gfp_t gfp, pgprot_t prot,
			     unsigned flags)
{
	return new_area(__real___vmalloc_range(bytes, align, lo, hi, gfp, prot, flags), bytes,
			__real_vfree, CALLER());
}

void *__wrap_vmap(struct page **pages, u64 count, pgprot_t prot)
{
	return new_area(__real_vmap(pages, count, prot), count << PAGE_SHIFT, __real_vunmap,
			CALLER());
}

void *__wrap_vmap_put_pages(struct page **pages, u64 count)
{
	return new_area(__real_vmap_put_pages(pages, count), count << PAGE_SHIFT, __real_vfree,
			CALLER());
}

void *__wrap_vmap_pfn(const u64 *pfns, u64 count, pgprot_t prot)
{
	return new_area(__real_vmap_pfn(pfns, count, prot), count << PAGE_SHIFT, __real_vunmap,
			CALLER());
}

static void unmap_device(const void *p)
{
	__real_iounmap(p);
}

void *__wrap_ioremap_prot(paddr_t pa, u64 bytes, pgprot_t prot)
{
	return new_area(__real_ioremap_prot(pa, bytes, prot), bytes + pa.v % PAGE_SIZE,
			unmap_device, CALLER());
}

void *__wrap_alloc_kernel_stack(u64 bytes)
{
	return new_area(__real_alloc_kernel_stack(bytes), bytes, __real_free_kernel_stack,
			CALLER());
}

/* Freeing. Whether it may be freed so mm/ decides, and tells. */

static struct freed {
	vaddr_t start;
	u64 bytes;
	struct kasan_sites by;
} freed_areas[REMEMBERED];
static u64 nr_freed; /* atomic */

/* The last area freed that held p, if it is not too long ago. */
static const struct freed *was_freed(vaddr_t p)
{
	for (u64 n = nr_freed; n && nr_freed - n < REMEMBERED; n--)
		if (p - freed_areas[(n - 1) % REMEMBERED].start <
		    freed_areas[(n - 1) % REMEMBERED].bytes)
			return &freed_areas[(n - 1) % REMEMBERED];
	return NULL;
}

static void forget(vaddr_t p, enum vm_kind kind, vaddr_t caller)
{
	struct vm_area area;
	u64 bytes;

	if (!find_vm_area(p, &area) || area.start != p)
		return;
	if (area.kind == VM_FREED && was_freed(p))
		kasan_double_free((void *)p, "is freed already, and waits for the flush",
				  (void *)caller);
	if (area.kind != kind)
		return;
	bytes = area.nr_pages << PAGE_SHIFT;
	freed_areas[__atomic_fetch_add(&nr_freed, 1, __ATOMIC_RELAXED) % REMEMBERED] =
		(struct freed){ p,
				kasan_allowed(p, bytes),
				{ code_offset((vaddr_t)area.caller), code_offset(caller) } };
	kasan_poison((void *)p, bytes, SHADOW_UNMAPPED);
}

void __wrap_vfree(const void *p)
{
	forget((vaddr_t)p, VM_ALLOC, CALLER());
	__real_vfree(p);
}

void __wrap_vunmap(const void *p)
{
	forget((vaddr_t)p, VM_MAP, CALLER());
	__real_vunmap(p);
}

void __wrap_iounmap(const volatile void *p)
{
	forget(ALIGN_DOWN((vaddr_t)p, PAGE_SIZE), VM_IOREMAP, CALLER());
	__real_iounmap(p);
}

void __wrap_free_kernel_stack(const void *stack)
{
	forget((vaddr_t)stack, VM_STACK, CALLER());
	__real_free_kernel_stack(stack);
}

void *__wrap_vrealloc(const void *p, u64 bytes, gfp_t gfp)
{
	struct vm_area area;
	void *fresh;

	if (!p)
		return new_area(__real_vrealloc(p, bytes, gfp), bytes, __real_vfree, CALLER());
	if (!find_vm_area((vaddr_t)p, &area) || area.start != (vaddr_t)p || area.kind != VM_ALLOC)
		return __real_vrealloc(p, bytes, gfp); /* it says what is wrong */
	if (bytes && bytes <= area.nr_pages << PAGE_SHIFT)
		return new_area(__real_vrealloc(p, bytes, gfp), bytes, NULL, CALLER());
	fresh = new_area(__real___vmalloc(bytes, gfp), bytes, __real_vfree, CALLER());
	if (fresh)
		memcpy(fresh, p, area.nr_pages << PAGE_SHIFT);
	if (fresh || !bytes)
		__wrap_vfree(p);
	return fresh;
}

/* Of areas in use, the one that bad lies in or, if that is a guard's page, the nearer beside it. */
static bool nearest(vaddr_t bad, struct vm_area *area)
{
	struct vm_area left;
	u64 left_bytes = 0;
	bool found = find_vm_area(bad, area) && area->kind != VM_FREED;

	if (found && bad >= area->start)
		return true;
	if (find_vm_area(ALIGN_DOWN(bad, PAGE_SIZE) - 1, &left) && left.kind != VM_FREED)
		left_bytes = kasan_allowed(left.start, left.nr_pages << PAGE_SHIFT);
	if (left_bytes && (!found || bad - left.start - left_bytes < area->start - bad))
		*area = left;
	return found || left_bytes;
}

static bool is_live(vaddr_t p)
{
	struct vm_area area;

	return find_vm_area(p, &area) && area.kind != VM_FREED;
}

/* As long as it waits the shadow says so. Later only if no area in use is beside it. */
bool kasan_is_freed_area(vaddr_t p)
{
	u8 shadow;

	if (probe_read((vaddr_t)SHADOW(p), &shadow) && shadow == SHADOW_UNMAPPED)
		return true;
	return was_freed(p) && !is_live(p) && !is_live(p - PAGE_SIZE) && !is_live(p + PAGE_SIZE);
}

void kasan_describe_area(struct kasan_text *text, vaddr_t bad)
{
	const struct freed *freed = was_freed(bad);
	struct vm_area area;

	if ((!freed || !kasan_is_freed_area(bad)) && nearest(bad, &area)) {
		kasan_say_object(text, bad, area.start,
				 kasan_allowed(area.start, area.nr_pages << PAGE_SHIFT), "a ");
		kasan_say(text, "%s area", vm_kind_name(area.kind));
		kasan_say_sites(text, code_offset((vaddr_t)area.caller), 0);
	} else if (freed) {
		kasan_say_object(text, bad, freed->start, freed->bytes, "a freed area");
		kasan_say_sites(text, freed->by.allocated, freed->by.freed);
	} else {
		kasan_say(text, "\n  no area is near");
	}
}
