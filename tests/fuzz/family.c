/*
 * family.c - vmalloc and all its relations, mixed, against a list of areas (areas.h).
 *
 * Each operation may find that memory is short, by order (inject.h) or in truth; it may come in an
 * interrupt; then it may fail, but cleanly. Otherwise what the header promises must happen. After
 * each one the counters are compared, and some other area is looked at.
 */
#include <string.h>

#include <mm/mm.h>
#include <mm/slab.h>
#include <sim.h>

#include "areas.h"

static struct census at_first;
static struct page *ours[20]; /* frames from alloc_pages, for vmap to show */
static unsigned nr_ours;
static bool deferred;  /* a free in an interrupt may not have happened yet */
static bool was_shown; /* a vmap has gone since the last flush */

static void setup(void)
{
	take_census(&at_first);
}

/* A call, so that it can be made in an interrupt. */
static struct call {
	enum {
		VMALLOC,
		ZALLOC,
		RANGE,
		CALLOC,
		STACK,
		KVMALLOC,
		VMAP,
		PUT_PAGES,
		PFNS,
		IOREMAP,
		NR_CALLS
	} what;
	u64 nr_pages, bytes, align, flags;
	vaddr_t lo, hi;
	gfp_t gfp;
	pgprot_t prot;
	struct page *pages[24];
	u64 pfns[24];
	void *p;
} c;

static void call(void *unused)
{
	(void)unused;
	switch (c.what) {
	case VMALLOC:
		c.p = vmalloc(c.bytes);
		break;
	case ZALLOC:
		c.p = vzalloc(c.bytes);
		break;
	case RANGE:
		c.p = __vmalloc_range(c.bytes, c.align, c.lo, c.hi, c.gfp, c.prot, c.flags);
		break;
	case CALLOC:
		c.p = vcalloc(c.bytes / 8, 8);
		break;
	case STACK:
		c.p = alloc_kernel_stack(c.bytes);
		break;
	case KVMALLOC:
		c.p = kvmalloc(c.bytes, c.gfp);
		break;
	case VMAP:
		c.p = vmap(c.pages, c.nr_pages, c.prot);
		break;
	case PUT_PAGES:
		c.p = vmap_put_pages(c.pages, c.nr_pages);
		break;
	case PFNS:
		c.p = vmap_pfn(c.pfns, c.nr_pages, c.prot);
		break;
	default:
		c.p = ioremap_prot(paddr(c.pfns[0] << PAGE_SHIFT | c.flags), c.bytes, c.prot);
	}
}

static bool kind_is_alloc(void)
{
	return c.what == VMALLOC || c.what == ZALLOC || c.what == RANGE || c.what == CALLOC ||
	       c.what == KVMALLOC || c.what == PUT_PAGES;
}

static void choose_size(struct bytes *in)
{
	u8 n = byte(in), rest = byte(in);

	c.nr_pages = n < 200 ? n % 12 + 1 : n < 240 ? n - 100 : n < 252 ? n % 3 * 512 + n % 7 : 0;
	c.bytes = c.nr_pages * PAGE_SIZE - (c.nr_pages ? rest * 16 : 0);
	if (n >= 253) /* absurd */
		c.bytes = n == 253 ? ~0ul - rest : 1ul << (rest % 16 + 48);
	if (c.what == CALLOC)
		c.bytes = ALIGN_DOWN(c.bytes, 8);
	c.gfp = rest & 1 ? __GFP_ZERO : 0;
}

/* What the call may be given; false: then it must say no. */
static bool choose_range(struct bytes *in)
{
	u8 how = byte(in);

	c.align = PAGE_SIZE << (how & 3 ? 0 : how >> 2 & 7);
	c.lo = VMALLOC_START;
	c.hi = VMALLOC_END;
	c.prot = byte(in) % 4;
	c.flags = how >= 200 ? VM_ALLOW_HUGE_VMAP : 0;
	if (how >= 128 && how < 160) {
		c.lo += (u64)byte(in) << (PAGE_SHIFT + how % 4);
		c.hi = c.lo + ((u64)byte(in) << PAGE_SHIFT);
	}
	if (how == 127)
		c.align = 0;
	if (how == 126)
		c.align = 3 * PAGE_SIZE;
	return c.prot != PAGE_NONE && c.align && !(c.align & (c.align - 1));
}

/* Frames for vmap: ours, or of areas; now and then one that it must not show. */
static bool choose_frames(struct bytes *in)
{
	bool good = true;

	c.nr_pages = byte(in) % (ARRAY_SIZE(c.pages) + 1);
	c.prot = byte(in) % 16 ? byte(in) & 1 ? PAGE_KERNEL : PAGE_KERNEL_RO : PAGE_KERNEL_ROX;
	for (u64 i = 0; i < c.nr_pages; i++) {
		u8 n = byte(in);
		struct area *a = nr_areas ? &areas[n % nr_areas] : NULL;
		u64 page = a ? n / 4 % a->nr_pages : 0;

		if (n == 255 || (!nr_ours && (!a || !has_frames(a)))) {
			c.pages[i] = pfn_to_page(0x400 + n % 64); /* the image: not to be shown */
			good = false;
		} else if ((n & 1 || !nr_ours) && a && has_frames(a)) {
			c.pages[i] = pfn_to_page(a->pfn[page]);
			good &= c.pages[i]->state != PG_TEXT;
		} else if (nr_ours) {
			c.pages[i] = ours[n % nr_ours];
		}
	}
	return good && c.nr_pages && c.prot != PAGE_KERNEL_ROX;
}

/* For vfree to free: ours, each once, and not shown elsewhere. */
static bool choose_own(struct bytes *in)
{
	bool twice = byte(in) > 250, good;

	c.prot = PAGE_KERNEL;
	c.nr_pages = byte(in) % 9;
	c.nr_pages = MIN(c.nr_pages, nr_ours);
	twice &= c.nr_pages > 1;
	good = c.nr_pages && !twice;
	for (u64 i = 0; i < c.nr_pages; i++) {
		c.pages[i] = ours[twice ? 0 : nr_ours - 1 - i];
		good &= !frames[page_to_pfn(c.pages[i])].shown;
	}
	if (!good && !twice)
		c.nr_pages = 0;
	return good;
}

static bool choose_pfns(struct bytes *in)
{
	static const pgprot_t prots[] = { PAGE_KERNEL, PAGE_KERNEL_RO, PAGE_KERNEL | PAGE_UC,
					  PAGE_KERNEL_RO | PAGE_WC, PAGE_KERNEL_ROX };
	u8 how = byte(in);
	bool good = true;

	c.nr_pages = byte(in) % ARRAY_SIZE(c.pfns);
	c.prot = prots[how % ARRAY_SIZE(prots)];
	for (u64 i = 0; i < ARRAY_SIZE(c.pfns); i++)
		c.pfns[i] = 0x8000 + (c.what == IOREMAP ? how * 16ul + i : byte(in));
	c.flags = how * 16 % PAGE_SIZE;
	c.bytes = c.nr_pages * PAGE_SIZE - (c.nr_pages ? c.flags : 0);
	if (how > 250 && c.nr_pages) { /* the last is RAM, or beyond all */
		c.pfns[c.what == IOREMAP ? 0 : c.nr_pages - 1] = how & 1 ? 0x300 : 1ul << 32;
		good = false;
	}
	return good && c.nr_pages && c.prot != PAGE_KERNEL_ROX;
}

static bool choose(struct bytes *in)
{
	c.what = byte(in) % NR_CALLS;
	c.flags = c.align = 0;
	c.prot = PAGE_KERNEL;
	if (c.what == VMAP)
		return choose_frames(in);
	if (c.what == PUT_PAGES)
		return choose_own(in);
	if (c.what >= PFNS)
		return choose_pfns(in);
	choose_size(in);
	if (c.what == ZALLOC || c.what == CALLOC)
		c.gfp = __GFP_ZERO;
	return (c.what != RANGE || choose_range(in)) && c.nr_pages;
}

/* It said no, though nothing failed by order. Then memory, or the addresses asked for, are short. */
static void expect_short(void)
{
	u64 need = c.what < VMAP ? c.nr_pages : 0, tables = c.nr_pages / 512 + 12;

	if (need + tables > nr_free_pages())
		return;
	EXPECT(c.what == RANGE && c.hi != VMALLOC_END);
	if (c.flags & VM_ALLOW_HUGE_VMAP && c.bytes >= 2 * MiB)
		c.align = MAX(c.align, 2 * MiB);
	EXPECT(!fits_anywhere(c.nr_pages, c.align, c.lo, c.hi));
}

static void forget_ours(void)
{
	for (u64 i = 0; i < c.nr_pages; i++)
		frames[page_to_pfn(ours[--nr_ours])].owner = NOT_OURS;
}

static void alloc(struct bytes *in, bool in_interrupt)
{
	bool good = choose(in),
	     zero = c.gfp & __GFP_ZERO && c.what < VMAP && c.what != VMALLOC && c.what != STACK;
	u8 fail = byte(in);
	u64 struck;

	inject((struct inject_order){ .nth = fail > 224 ? fail - 224 : 0, .and_after = fail & 1 });
	if (in_interrupt)
		self_interrupt(call, NULL);
	else
		call(NULL);
	struck = inject((struct inject_order){ 0 });
	if (!good)
		EXPECT(!c.p);
	if (!c.p) {
		if (good && !struck && !in_interrupt)
			expect_short();
		return;
	}
	if (c.what == KVMALLOC && !is_vmalloc_addr(c.p)) {
		EXPECT(ksize(c.p) >= c.bytes && (!zero || !memcmp(c.p, c.p + 1, c.bytes - 1)));
		kvfree(c.p);
		return;
	}
	if (c.what == RANGE)
		EXPECT(c.p >= (void *)c.lo + PAGE_SIZE &&
		       c.p + c.nr_pages * PAGE_SIZE <= (void *)c.hi &&
		       IS_ALIGNED((vaddr_t)c.p, c.align));
	if (c.what == IOREMAP)
		EXPECT_EQ((vaddr_t)c.p % PAGE_SIZE, c.flags);
	if (c.what == PUT_PAGES)
		forget_ours();
	area_came(c.p, c.nr_pages,
		  kind_is_alloc()   ? VM_ALLOC :
		  c.what == STACK   ? VM_STACK :
		  c.what == IOREMAP ? VM_IOREMAP :
				      VM_MAP,
		  c.prot & 3, zero);
}

/* Freeing */

static void *wrong_pointer;
static enum vm_kind wrong_kind;

static void free_any(void *unused)
{
	const void *p = wrong_pointer;

	(void)unused;
	(wrong_kind == VM_ALLOC ? vfree : wrong_kind == VM_MAP ? vunmap : free_kernel_stack)(p);
}

static void free_now(void *unused)
{
	const struct area *a = &last_freed;

	(void)unused;
	if (a->kind == VM_ALLOC)
		vfree(a->p);
	else if (a->kind == VM_MAP)
		vunmap(a->p);
	else if (a->kind == VM_STACK)
		free_kernel_stack(a->p);
	else
		iounmap(a->p + a->offset);
}

/* A frame that vmap shows may not be freed. */
static bool may_go(const struct area *a)
{
	for (u64 i = 0; has_frames(a) && a->kind != VM_MAP && i < a->nr_pages; i++)
		if (frames[a->pfn[i]].shown)
			return false;
	return true;
}

static void release(unsigned i, bool in_interrupt)
{
	was_shown |= areas[i].kind == VM_MAP;
	area_goes(i);
	if (in_interrupt)
		self_interrupt(free_now, NULL);
	else
		free_now(NULL);
	deferred |= in_interrupt;
	if (!in_interrupt)
		expect_gone(tlb_mode == TLB_EAGER);
}

static void wrong_free(struct bytes *in)
{
	u8 how = byte(in), which = byte(in);
	struct area *a = nr_areas ? &areas[which % nr_areas] : &last_freed;
	static const s64 off[] = { 8, PAGE_SIZE, -(s64)PAGE_SIZE, 1, -8, 4 * PAGE_SIZE };

	if (!a->p)
		return;
	wrong_pointer = a->p + (how % 8 < ARRAY_SIZE(off) ? off[how % 8] : 0);
	wrong_kind = a->kind;
	if (how % 8 == 6) /* of another kind */
		wrong_kind = a->kind == VM_ALLOC ? VM_MAP : VM_ALLOC;
	if (how % 8 == 7)
		wrong_pointer = how & 8 ? last_freed.p : (void *)(u64)(how << 12);
	if (!wrong_pointer || wrong_kind == VM_IOREMAP)
		return;
	a = area_at((vaddr_t)wrong_pointer);
	if (a && a->p == wrong_pointer && (a->kind == wrong_kind || how % 8 == 7))
		return; /* right after all */
	EXPECT_PANIC(free_any, NULL,
		     wrong_kind == VM_ALLOC ? "vfree: " :
		     wrong_kind == VM_MAP   ? "vunmap: " :
					      "free_kernel_stack: ");
}

/* Changing */

enum change { SET_RO, SET_RW, SET_X, SET_NX };

static pgprot_t changed(pgprot_t prot, enum change change) /* PAGE_NONE: not allowed */
{
	if (change == SET_RO)
		return prot == PAGE_KERNEL ? PAGE_KERNEL_RO : prot;
	if (change == SET_NX)
		return prot == PAGE_KERNEL_ROX ? PAGE_KERNEL_RO : prot;
	if (prot == (change == SET_RW ? PAGE_KERNEL_ROX : PAGE_KERNEL))
		return PAGE_NONE;
	return change == SET_RW ? PAGE_KERNEL : PAGE_KERNEL_ROX;
}

static int set_error;
static vaddr_t set_va;
static u64 set_nr;
static enum change set_change;

static void do_set_memory(void *unused)
{
	(void)unused;
	set_error = set_change == SET_RO ? set_memory_ro(set_va, set_nr) :
		    set_change == SET_RW ? set_memory_rw(set_va, set_nr) :
		    set_change == SET_X	 ? set_memory_x(set_va, set_nr) :
					   set_memory_nx(set_va, set_nr);
}

/* A page that vmap shows is to become code: first read-only, then that, which may not be. */
static void choose_shown(struct area **area, u64 *from, u64 *nr)
{
	for (struct area *a = areas; a < areas + nr_areas; a++)
		for (u64 i = 0; a->kind == VM_ALLOC && i < a->nr_pages; i++)
			if (frames[a->pfn[i]].shown) {
				*area = a;
				*from = i;
				*nr = set_nr = 1;
				set_va = (vaddr_t)a->p + i * PAGE_SIZE;
				set_change = a->prot[i] == PAGE_KERNEL ? SET_RO : SET_X;
				return;
			}
}

static void protect(struct bytes *in, struct area *a)
{
	u8 how = byte(in);
	u64 from = byte(in) % a->nr_pages, nr = 1 + byte(in) % (a->nr_pages - from + (how > 250)),
	    struck;
	bool allowed = true, in_interrupt = how % 32 == 31;

	set_va = (vaddr_t)a->p + from * PAGE_SIZE + (how == 250);
	set_nr = nr;
	set_change = how % 4;
	if (how >= 192 && how < 250)
		choose_shown(&a, &from, &nr);
	inject((struct inject_order){ .nth = how >> 4 == 9 ? how / 4 % 4 : 0 });
	if (in_interrupt)
		self_interrupt(do_set_memory, NULL);
	else
		do_set_memory(NULL);
	struck = inject((struct inject_order){ 0 });
	if (a->kind != VM_ALLOC || in_interrupt || how == 250 || from + nr > a->nr_pages) {
		EXPECT_EQ(set_error, -EINVAL);
		return;
	}
	for (u64 i = from; i < from + nr; i++) {
		allowed &= changed(a->prot[i], set_change) != PAGE_NONE;
		allowed &= set_change != SET_X || !frames[a->pfn[i]].writable;
	}
	if (set_error == -ENOMEM)
		EXPECT(struck || nr_free_pages() < 16);
	else
		EXPECT_EQ(set_error, allowed ? 0 : -EACCES);
	for (u64 i = from; i < from + nr; i++) {
		u8 *p = a->p + i * PAGE_SIZE;

		a->prot[i] = set_error ? a->prot[i] : changed(a->prot[i], set_change);
		expect_page(a, i);
		EXPECT_EQ(probe_write((vaddr_t)p + 16, 1), a->prot[i] == PAGE_KERNEL);
	}
}

static void resize(struct bytes *in, unsigned i)
{
	struct area *a = &areas[i], old = *a;
	u64 first[4];
	void *p;

	c.what = VMALLOC;
	choose_size(in);
	for (u64 n = 0; n < MIN(a->nr_pages, 4ul); n++)
		first[n] = frames[a->pfn[n]].first;
	p = vrealloc(a->p, c.bytes, c.gfp);
	if (p == old.p) {
		EXPECT(c.nr_pages && c.nr_pages <= old.nr_pages);
		expect_area(a);
		return;
	}
	if (!p && c.bytes) {
		EXPECT(c.nr_pages > old.nr_pages || !c.nr_pages);
		expect_area(a);
		return;
	}
	EXPECT(!p || c.nr_pages > old.nr_pages);
	for (u64 n = 0; n < old.nr_pages; n++)
		frames[old.pfn[n]].owner = NOT_OURS;
	last_freed = old;
	areas[i] = areas[--nr_areas];
	expect_gone(tlb_mode == TLB_EAGER);
	for (u64 n = 0; p && n < MIN(old.nr_pages, 4ul); n++)
		EXPECT_EQ(*(u64 *)(p + n * PAGE_SIZE), first[n]);
	for (u64 at = old.nr_pages * PAGE_SIZE;
	     p && c.gfp & __GFP_ZERO && at < c.nr_pages * PAGE_SIZE; at += 8)
		EXPECT_EQ(*(u64 *)(p + at), 0);
	if (p)
		area_came(p, c.nr_pages, VM_ALLOC, PAGE_KERNEL, false);
}

/* Looking */

static void read_window(struct bytes *in)
{
	static u8 got[3 * PAGE_SIZE], want[3 * PAGE_SIZE];
	const struct area *a = nr_areas ? &areas[byte(in) % nr_areas] : &last_freed;
	vaddr_t va = (vaddr_t)a->p - PAGE_SIZE + (u64)word(in) % ((a->nr_pages + 2) * PAGE_SIZE);
	u64 bytes = word(in) % sizeof(got), nr;
	bool any = false;

	if (deferred || !a->p)
		return;
	for (u64 at = 0; at < bytes; at += nr) {
		const struct area *there = area_at(va + at);
		u64 page = there ? (va + at - (vaddr_t)there->p) >> PAGE_SHIFT : 0;
		bool mapped = there && page < there->nr_pages && has_frames(there);

		nr = MIN(bytes - at, PAGE_SIZE - (va + at) % PAGE_SIZE);
		memset(want + at, 0, nr);
		if (mapped)
			memcpy(want + at,
			       phys_to_virt(paddr((there->pfn[page] << PAGE_SHIFT) +
						  (va + at) % PAGE_SIZE)),
			       nr);
		any |= mapped;
	}
	EXPECT_EQ(vread(got, (void *)va, bytes), any ? bytes : 0);
	EXPECT(!memcmp(got, want, bytes));
}

static void find(struct bytes *in)
{
	const struct area *a = nr_areas ? &areas[byte(in) % nr_areas] : &last_freed;
	vaddr_t va = (vaddr_t)a->p - 4 * PAGE_SIZE + ((u64)word(in) << 4);
	struct area *there = area_at(va);
	struct vm_area found;
	bool ok = find_vm_area(va, &found);

	if (there)
		EXPECT(ok && found.start == (vaddr_t)there->p && found.kind == there->kind);
	else
		EXPECT(!ok || found.kind == VM_FREED);
	EXPECT(!ok || (va >= found.start - PAGE_SIZE && va < vm_area_end(&found)));
}

static void list_all(void)
{
	unsigned live = 0;
	struct vm_area found;
	vaddr_t last = 0;

	for (vaddr_t va = VMALLOC_START; next_vm_area(va, &found); va = vm_area_end(&found)) {
		const struct area *there = area_at(found.start);

		EXPECT(found.start > last);
		last = found.start;
		EXPECT_EQ(found.kind != VM_FREED, there && (vaddr_t)there->p == found.start);
		live += found.kind != VM_FREED;
	}
	EXPECT_EQ(live, nr_areas);
}

static void flush(void)
{
	vm_unmap_aliases();
	deferred = was_shown = false;
	expect_gone(true);
}

static void compare_counts(void)
{
	struct vmalloc_stats stats;
	u64 used = 0;

	for (const struct area *a = areas; a < areas + nr_areas; a++)
		used += a->nr_pages;
	vmalloc_stats(&stats);
	EXPECT_EQ(stats.areas, nr_areas);
	EXPECT_EQ(stats.used, used);
}

/* Frames of our own */

static void take_frame(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	u64 pfn = page ? page_to_pfn(page) : 0, *p = page ? page_address(page) : NULL;

	if (!page)
		return;
	EXPECT(frames[pfn].owner == NOT_OURS);
	p[0] = p[PAGE_SIZE / 8 - 1] = (u64)p;
	frames[pfn] = (struct frame){ .owner = OURS, .first = (u64)p, .last = (u64)p };
	ours[nr_ours++] = page;
}

static void give_frame(unsigned i)
{
	u64 pfn = page_to_pfn(ours[i]), *p = page_address(ours[i]);

	if (frames[pfn].shown)
		return;
	if (was_shown)
		flush();
	EXPECT(p[0] == frames[pfn].first && p[PAGE_SIZE / 8 - 1] == frames[pfn].last);
	frames[pfn].owner = NOT_OURS;
	__free_pages(ours[i], 0);
	ours[i] = ours[--nr_ours];
}

static void write_page(struct area *a, u64 i)
{
	if (a->prot[i] != PAGE_KERNEL || !has_frames(a))
		return;
	stamp(a, i);
	expect_page(a, i);
}

static void finish(void)
{
	struct census now;

	for (unsigned i = nr_areas; i-- > 0;)
		if (areas[i].kind == VM_MAP)
			release(i, false);
	while (nr_areas)
		release(nr_areas - 1, nr_areas % 4 == 3);
	while (nr_ours)
		give_frame(nr_ours - 1);
	flush();
	compare_counts();
	EXPECT_EQ(nr_free_pages() <= FRAMES, true);
	if (fuzz_operations % 8)
		return;
	expect_sound();
	take_census(&now);
	EXPECT_EQ(now.frames, at_first.frames);
	EXPECT_EQ(now.objects, at_first.objects);
	EXPECT_EQ(now.window_free, at_first.window_free);
}

static void run(struct bytes *in)
{
	tlb_mode = TLB_LAZY;
	while (operation(in)) {
		u8 what = byte(in), which = nr_areas ? byte(in) % nr_areas : 0;

		if (what < 90 && nr_areas < AREAS_MAX)
			alloc(in, what % 16 == 15);
		else if (what < 150 && nr_areas && may_go(&areas[which]))
			release(which, what % 16 == 15);
		else if (what < 165 && nr_ours < ARRAY_SIZE(ours))
			take_frame();
		else if (what < 175 && nr_ours)
			give_frame(what % nr_ours);
		else if (what < 200 && nr_areas)
			protect(in, &areas[which]);
		else if (what < 210 && nr_areas && areas[which].kind == VM_ALLOC &&
			 may_go(&areas[which]))
			resize(in, which);
		else if (what < 225 && nr_areas)
			write_page(&areas[which], byte(in) % areas[which].nr_pages);
		else if (what < 235)
			wrong_free(in);
		else if (what < 242)
			read_window(in);
		else if (what < 250)
			find(in);
		else if (what == 250)
			list_all();
		else if (what == 251)
			tlb_mode = TLB_LAZY + TLB_EAGER - tlb_mode;
		else if (what < 254)
			flush();
		else if (what == 255 && !deferred)
			expect_sound();
		if (nr_areas)
			expect_area(&areas[what % nr_areas]);
		compare_counts();
	}
	finish();
}

FUZZ_TARGET(family, setup, run);
