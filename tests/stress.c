/*
 * stress.c - the monitor's command `stress`: all CPUs allocate, check and free at random, at once.
 *
 * What is allocated goes through slots that all CPUs share, by atomic exchange: whoever puts an object
 * into a slot gets what was there, made by any CPU, checks and frees it. Every page carries, at its
 * beginning and end, the number of its object, which is never used again, and its own number in it.
 * So a frame with two owners, a page mapped in the wrong place, and contents lost on the way are seen.
 *
 * Stale pointers are tried, too. While a CPU masks interrupts and serves nobody, no flush can end. An
 * area that it saw alive since then may be unmapped by another CPU, but neither its addresses nor
 * its frames may have a new owner: a read finds the old contents, or faults. This is exact, and the
 * better for a translation that the TLB still has.
 *
 * What a CPU asks for follows from the seed and its number alone: one random number an operation.
 * What it gets, and what it finds in the slots, depends on the others. At the end all is freed: the
 * counters must be back, and mm_check() find nothing.
 */
#include <arch/cpu.h>
#include <asm/x86.h>
#include <kernel/monitor.h>
#include <kernel/printk.h>
#include <kernel/random.h>
#include <kernel/record.h>
#include <kernel/smp.h>
#include <kernel/string.h>
#include <kernel/words.h>
#include <mm/mm.h>
#include <mm/pagetable.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#include "test.h"

#define SLOTS 256
#define HOT 8		     /* slots that see half of all exchanges */
#define FRAMES 16	     /* of one object that keeps a list of them */
#define LIMBO 64	     /* lists of frames that wait for a flush; the last is for interrupts */
#define OPERATIONS 200000    /* unless said otherwise */
#define COMPLAINTS 10	     /* are printed */
#define PATIENCE (1ul << 37) /* cycles without a second: the clock stands */

/* Owned by whoever took it out of its slot; others may look, see peek(). */
struct object {
	u64 id; /* 0: none, or about to go; atomic */
	const struct kind *kind;
	char *p, *alias; /* alias, not NULL: its pages, at another address */
	u64 nr_pages;	 /* 0: less than a page, */
	u64 bytes;	 /* namely so many */
	u32 maker;
	unsigned order;
	bool guarded;		   /* its protection was changed: not to be written, nor resized */
	struct page *page[FRAMES]; /* p NULL: only these */
};

struct kind {
	const char *name;
	u32 share; /* of 256 */
	bool (*make)(struct object *o, u64 r);
	void (*free)(struct object *o);
};

struct limbo {
	u64 flush;
	u64 nr;
	struct page *page[FRAMES];
};

static struct worker {
	u64 random, made; /* made: for ids */
	u64 ops, refused, foreign, peeks, outlived, faulted;
	struct object *hand; /* empty between operations */
	u64 limbo_first, limbo_last;
	struct limbo limbo[LIMBO];
} aligned_to(64) * workers;

static struct object *objects, *slots[SLOTS];
static u64 operations;	   /* of all CPUs together */
static bool stop;	   /* atomic */
static u64 failures;	   /* atomic */
static u64 limit, seconds; /* limit 0: the operations are */
static u64 told;	   /* operations: if no more are done it is silent, and the run has hung */
static u64 nr_workers, at_work; /* at_work: atomic */

static void printf_like(1, 2) wrong(const char *fmt, ...)
{
	char text[200];
	va_list args;

	if (__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) >= COMPLAINTS)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printk_line("stress: CPU %u: %s", (u32)cpu_id(), text);
}

/* Stamps */

/* A page's addresses: in the object, in its alias, in the direct map; NULL: it has none there. */
static char *view(const struct object *o, unsigned n, u64 i)
{
	char *const start = n == 0 ? o->p : n == 1 ? o->alias : NULL;

	if (n == 2)
		return o->page[0] ? page_address(o->page[i]) : NULL;
	return start ? start + (i << PAGE_SHIFT) : NULL;
}

static void stamp(const struct object *o, u64 id, u64 first)
{
	for (u64 i = first; i < o->nr_pages; i++) {
		u64 *at = (u64 *)(view(o, 2, i) ?: view(o, 0, i)); /* the first may be r-- */

		at[0] = at[510] = id;
		at[1] = at[511] = i;
	}
	if (!o->nr_pages && o->bytes >= 2 * sizeof(id))
		memcpy(o->p + o->bytes - sizeof(id), &id, sizeof(id));
	if (!o->nr_pages)
		memcpy(o->p, &id, MIN(o->bytes, sizeof(id))); /* nothing, if it is a device */
}

static void check_page(const struct object *o, const char *page, u64 i)
{
	const u64 *at = (const u64 *)page;

	if (at[0] != o->id || at[1] != i || at[510] != o->id || at[511] != i)
		wrong("page %lu of %lu of %s 0x%lx at %p says 0x%lx page %lu ... 0x%lx page %lu", i,
		      o->nr_pages, o->kind->name, o->id, (const void *)page, at[0], at[1], at[510],
		      at[511]);
}

/* nr pages, or the bytes, of an object that may be cut to that by now */
static void check(const struct object *o)
{
	u64 most = MIN(o->bytes, sizeof(o->id)), end = o->bytes >= 16 ? o->bytes - 8 : 0;

	for (u64 i = 0; i < o->nr_pages; i++)
		for (unsigned n = 0; n < 3; n++)
			if (view(o, n, i))
				check_page(o, view(o, n, i), i);
	if (!o->nr_pages && (memcmp(o->p, &o->id, most) || memcmp(o->p + end, &o->id, most)))
		wrong("%s 0x%lx of %lu bytes at %p says 0x%lx", o->kind->name, o->id, o->bytes,
		      (void *)o->p, *(u64 *)o->p);
}

/* Kinds of objects */

static u64 some_pages(u64 r)
{
	u64 most = r % 512 == 0 ? 3000 : r % 32 == 0 ? 200 : 8;

	return 1 + (r >> 16) % most;
}

static bool make_vmalloc(struct object *o, u64 r)
{
	o->nr_pages = some_pages(r);
	o->p = vmalloc(o->nr_pages << PAGE_SHIFT);
	return o->p;
}

static void free_vmalloc(struct object *o)
{
	vfree(o->p);
}

static void expect_zeros(const struct object *o)
{
	for (u64 i = 0; o->p && i < o->nr_pages << PAGE_SHIFT; i += i % PAGE_SIZE ? 4088 : 8)
		if (*(u64 *)(o->p + i))
			wrong("%s %p + 0x%lx is not zero, but 0x%lx", o->kind->name, (void *)o->p,
			      i, *(u64 *)(o->p + i));
}

static bool make_vzalloc(struct object *o, u64 r)
{
	o->nr_pages = some_pages(r);
	o->p = vzalloc(o->nr_pages << PAGE_SHIFT);
	expect_zeros(o);
	return o->p;
}

static bool make_vcalloc(struct object *o, u64 r)
{
	o->nr_pages = 1 + r % 20;
	o->p = r & 64 ? vcalloc(o->nr_pages, PAGE_SIZE) :
			kvcalloc(o->nr_pages * 512, sizeof(u64), GFP_KERNEL);
	expect_zeros(o);
	return o->p;
}

static bool make_kvmalloc(struct object *o, u64 r)
{
	o->bytes = 1 + (r >> 16) % (r % 8 ? 5000 : 20 * PAGE_SIZE);
	o->nr_pages = o->bytes >> PAGE_SHIFT;
	o->p = kvmalloc(o->bytes, GFP_KERNEL);
	return o->p;
}

static void free_kvmalloc(struct object *o)
{
	kvfree(o->p);
}

static bool make_huge(struct object *o, u64 r)
{
	o->nr_pages = 1 + r % 1200;
	o->p = vmalloc_huge(o->nr_pages << PAGE_SHIFT, r >> 16 & 1 ? __GFP_ZERO : GFP_KERNEL);
	if (r >> 16 & 1)
		expect_zeros(o);
	return o->p;
}

/* Aligned, and between limits. */
static bool make_range(struct object *o, u64 r)
{
	u64 align = PAGE_SIZE << r % 10;
	vaddr_t lo = VMALLOC_START + (r >> 16) % 4096 * MiB, hi = lo + 64 * MiB;

	if (hi > VMALLOC_END)
		return false;
	o->nr_pages = 1 + (r >> 32) % 10;
	o->p = __vmalloc_range(o->nr_pages << PAGE_SHIFT, align, lo, hi, GFP_KERNEL, PAGE_KERNEL,
			       r >> 31 & 1 ? VM_ALLOW_HUGE_VMAP : 0);
	if (o->p && (!IS_ALIGNED((vaddr_t)o->p, align) || (vaddr_t)o->p - PAGE_SIZE < lo ||
		     (vaddr_t)o->p + (o->nr_pages << PAGE_SHIFT) > hi))
		wrong("__vmalloc_range: %p, aligned to 0x%lx in 0x%lx-0x%lx", (void *)o->p, align,
		      lo, hi);
	return o->p;
}

static bool make_stack(struct object *o, u64 r)
{
	o->nr_pages = 1 + r % 4;
	o->p = alloc_kernel_stack(o->nr_pages << PAGE_SHIFT);
	return o->p;
}

static void free_stack(struct object *o)
{
	free_kernel_stack(o->p);
}

/* The local APIC, which every machine of ours has there: SDM 3A, 11.4.1. */
static bool make_device(struct object *o, u64 r)
{
	o->p = r & 1 ? ioremap(paddr(0xfee00030), 4) : ioremap_wc(paddr(0xfee00030), 1 + r % 16384);
	return o->p;
}

static void free_device(struct object *o)
{
	u32 version = *(volatile u32 *)o->p & 0xff;

	if (version < 0x10 || version > 0x1f)
		wrong("device at %p: the local APIC's version is 0x%x", (void *)o->p, version);
	iounmap(o->p);
}

/* The frames of another area, shown a second time. */
static bool make_alias(struct object *o, u64 r)
{
	o->nr_pages = 1 + r % FRAMES;
	o->p = vmalloc(o->nr_pages << PAGE_SHIFT);
	for (u64 i = 0; o->p && i < o->nr_pages; i++)
		o->page[i] = vmalloc_to_page(view(o, 0, i));
	o->alias = o->p ? vmap(o->page, o->nr_pages, PAGE_KERNEL) : NULL;
	if (!o->alias)
		vfree(o->p);
	return o->alias;
}

static void free_alias(struct object *o)
{
	vunmap(o->alias);
	vfree(o->p);
}

/* Frames of our own, in the window and in the direct map. */
static bool make_map(struct object *o, u64 r, void *(*map)(struct page **, u64))
{
	o->nr_pages = 1 + r % FRAMES;
	if (!alloc_pages_bulk(GFP_KERNEL, o->nr_pages, o->page))
		return false;
	o->p = map(o->page, o->nr_pages);
	if (!o->p)
		free_pages_bulk(o->nr_pages, o->page);
	return o->p;
}

static void *map_rw(struct page **page, u64 nr)
{
	return vmap(page, nr, PAGE_KERNEL);
}

static void *map_ro(struct page **page, u64 nr)
{
	return vmap(page, nr, PAGE_KERNEL_RO);
}

static void *map_ram(struct page **page, u64 nr)
{
	return vm_map_ram(page, nr);
}

static void *map_given(struct page **page, u64 nr)
{
	return vmap_put_pages(page, nr);
}

static bool make_vmap(struct object *o, u64 r)
{
	return make_map(o, r, r >> 32 & 1 ? map_rw : map_ro);
}

static bool make_ram(struct object *o, u64 r)
{
	return make_map(o, r, map_ram);
}

static bool make_given(struct object *o, u64 r)
{
	return make_map(o, r, map_given);
}

/* The frames of an object wait until no CPU can see them in the window any more. */
static void into_limbo(const struct object *o)
{
	struct worker *w = &workers[cpu_id()];
	irqflags_t flags = irq_save();
	struct limbo *limbo = &w->limbo[w->limbo_last % LIMBO];

	BUG_ON(w->limbo_last++ - w->limbo_first == LIMBO);
	limbo->flush = tlb_next_flush();
	limbo->nr = o->nr_pages;
	memcpy(limbo->page, o->page, sizeof(o->page));
	irq_restore(flags);
}

static void free_vmap(struct object *o)
{
	vunmap(o->p);
	into_limbo(o);
}

static void free_ram(struct object *o)
{
	vm_unmap_ram(o->p, o->nr_pages);
	into_limbo(o);
}

/* Free those frames that are flushed, and all but so many lists in any case. */
static void leave_limbo(struct worker *w, u64 most)
{
	while (w->limbo_first != w->limbo_last) {
		struct limbo *limbo = &w->limbo[w->limbo_first % LIMBO];

		if (w->limbo_last - w->limbo_first > most)
			tlb_flush(limbo->flush);
		if (!tlb_flushed(limbo->flush))
			break;
		free_pages_bulk(limbo->nr, limbo->page);
		w->limbo_first++;
	}
}

static bool make_kmalloc(struct object *o, u64 r)
{
	u64 most = r % 64 == 0 ? 20 * PAGE_SIZE : r % 4 == 0 ? 3000 : 200;

	o->bytes = 1 + (r >> 16) % most;
	o->nr_pages = o->bytes >> PAGE_SHIFT;
	o->p = kmalloc(o->bytes, GFP_KERNEL);
	return o->p;
}

static void free_kmalloc(struct object *o)
{
	kfree(o->p);
}

static bool make_block(struct object *o, u64 r)
{
	o->order = r % 8 ? r % 3 : (r >> 16) % 7;
	o->nr_pages = 1ul << o->order;
	o->p = __get_free_pages(GFP_KERNEL, o->order);
	return o->p;
}

static void free_block(struct object *o)
{
	free_pages(o->p, o->order);
}

static bool make_bulk(struct object *o, u64 r)
{
	o->nr_pages = 1 + r % FRAMES;
	return alloc_pages_bulk(GFP_KERNEL, o->nr_pages, o->page);
}

static void free_bulk(struct object *o)
{
	free_pages_bulk(o->nr_pages, o->page);
}

static const struct kind kinds[] = {
	{ "vmalloc", 80, make_vmalloc, free_vmalloc },
	{ "vzalloc", 12, make_vzalloc, free_vmalloc },
	{ "vcalloc", 8, make_vcalloc, free_kvmalloc },
	{ "kvmalloc", 12, make_kvmalloc, free_kvmalloc },
	{ "huge", 1, make_huge, free_vmalloc },
	{ "range", 4, make_range, free_vmalloc },
	{ "alias", 16, make_alias, free_alias },
	{ "vmap", 18, make_vmap, free_vmap },
	{ "ram", 8, make_ram, free_ram },
	{ "given", 10, make_given, free_vmalloc },
	{ "stack", 4, make_stack, free_stack },
	{ "device", 3, make_device, free_device },
	{ "kmalloc", 45, make_kmalloc, free_kmalloc },
	{ "block", 27, make_block, free_block },
	{ "bulk", 8, make_bulk, free_bulk },
};

static const struct kind *some_kind(u64 r)
{
	const struct kind *kind = kinds;

	for (r %= 256; r >= kind->share; kind++)
		r -= kind->share;
	return kind;
}

/* Operations */

static struct object **some_slot(u64 r)
{
	return &slots[r & 1 ? (r >> 1) % HOT : (r >> 1) % SLOTS];
}

static void make(struct worker *w, struct object *o, u64 r)
{
	u64 id = (u64)(w - workers + 1) << 48 | ++w->made;

	*o = (struct object){ .kind = some_kind(r >> 8), .maker = cpu_id() };
	if (!o->kind->make(o, r >> 16)) {
		w->refused++;
		return;
	}
	stamp(o, id, 0);
	__atomic_store_n(&o->id, id, __ATOMIC_RELEASE);
}

static void destroy(struct worker *w, struct object *o)
{
	if (!o->id)
		return;
	check(o);
	w->foreign += o->maker != cpu_id();
	__atomic_store_n(&o->id, 0, __ATOMIC_RELEASE);
	o->kind->free(o);
}

static void make_and_free(struct worker *w, u64 r)
{
	make(w, w->hand, r);
	w->hand = __atomic_exchange_n(some_slot(r >> 55), w->hand, __ATOMIC_ACQ_REL);
	destroy(w, w->hand);
}

static bool is_vmalloc(const struct object *o)
{
	return o->kind && o->kind->free == free_vmalloc && o->kind->make != make_given;
}

/* Its new size; or as it was, if there is no memory. */
static void resize(struct object *o, u64 r)
{
	bool small = o->kind->make == make_kmalloc;
	u64 id = o->id, nr = some_pages(r), bytes = small ? 1 + r % 6000 : nr << PAGE_SHIFT;
	void *p;

	check(o);
	__atomic_store_n(&o->id, 0, __ATOMIC_RELEASE);
	p = small ? krealloc(o->p, bytes, GFP_KERNEL) : vrealloc(o->p, bytes, GFP_KERNEL);
	if (p) {
		o->p = p;
		nr = MIN(o->nr_pages, bytes >> PAGE_SHIFT); /* so many have their stamps */
		if (small && memcmp(p, &id, MIN(MIN(bytes, o->bytes), 8ul)) != 0)
			wrong("krealloc from %lu to %lu bytes lost something", o->bytes, bytes);
		o->nr_pages = bytes >> PAGE_SHIFT;
		o->bytes = small ? bytes : 0;
		stamp(o, id, nr);
	}
	__atomic_store_n(&o->id, id, __ATOMIC_RELEASE);
}

/* One page of it read-only, perhaps executable; some stay so until they are freed. */
static void protect(struct object *o, u64 r)
{
	u64 i = (r >> 8) % o->nr_pages, nr = 1 + (r >> 24) % MIN(o->nr_pages - i, 8ul);
	vaddr_t va = (vaddr_t)o->p + (i << PAGE_SHIFT);
	bool code = r % 16 == 0;

	if (o->guarded || in_interrupt())
		return;
	o->guarded = true;
	if (set_memory_ro(va, nr) || (code && set_memory_x(va, nr)))
		return;
	if (probe_write(va, 1))
		wrong("%s at 0x%lx is read-only, but was written", o->kind->name, va);
	if (code && probe_write((vaddr_t)page_address(vmalloc_to_page((void *)va)), 1))
		wrong("%s at 0x%lx is code, but was written by its direct map", o->kind->name, va);
	if (r >> 5 & 1)
		return;
	if ((code && set_memory_nx(va, nr)) || set_memory_rw(va, nr))
		wrong("%s at 0x%lx does not become writable again", o->kind->name, va);
	else
		o->guarded = false;
}

/* Across the end of a page: behind it is the next, or a guard; or what vrealloc has cut off. */
static void read_by_vread(const struct object *o, u64 r)
{
	u64 i = r % o->nr_pages, read[4] = { 1, 1, 1, 1 };
	u64 got = vread(read, o->p + (i << PAGE_SHIFT) + PAGE_SIZE - 16, sizeof(read));
	bool none = !read[2] && !read[3] && i == o->nr_pages - 1;

	if (got != sizeof(read) || read[0] != o->id || read[1] != i ||
	    (!none && (read[2] != o->id || read[3] != i + 1)))
		wrong("vread of page %lu of %lu of %s 0x%lx: %lu bytes, 0x%lx %lu 0x%lx %lu", i,
		      o->nr_pages, o->kind->name, o->id, got, read[0], read[1], read[2], read[3]);
}

static void change(struct object *o, u64 r)
{
	if (!o->id)
		return;
	if (o->nr_pages && !o->bytes && is_vmalloc_addr(o->p))
		read_by_vread(o, r >> 8);
	if (is_vmalloc(o) && r % 64 == 0)
		protect(o, r >> 8);
	else if ((is_vmalloc(o) || o->kind->make == make_kmalloc) && !o->guarded)
		resize(o, r >> 8);
}

/* Take one, change it, leave it in another slot. */
static void take_and_change(struct worker *w, u64 r)
{
	w->hand = __atomic_exchange_n(some_slot(r >> 46), w->hand, __ATOMIC_ACQ_REL);
	change(w->hand, r >> 8);
	w->hand = __atomic_exchange_n(some_slot(r >> 55), w->hand, __ATOMIC_ACQ_REL);
	destroy(w, w->hand);
}

enum seen { OLD, FAULTED, FOREIGN };

/* What a stale pointer to a page finds there: byte by byte, as any may fault. */
static enum seen look(vaddr_t va, u64 id, u64 i)
{
	const u64 expected[2] = { id, i };
	u8 byte;

	for (u64 n = 0; n < sizeof(expected); n++) {
		if (!probe_read(va + n, &byte))
			return FAULTED;
		if (byte != ((const u8 *)expected)[n])
			return FOREIGN;
	}
	return OLD;
}

/* From here to the end no flush ends: see above. */
static void peek(struct worker *w, u64 r)
{
	irqflags_t flags = irq_save();
	const struct object *o = __atomic_load_n(&slots[(r >> 56) % HOT], __ATOMIC_ACQUIRE);
	u64 id = __atomic_load_n(&o->id, __ATOMIC_ACQUIRE),
	    i = (r >> 16) % (o->nr_pages + !o->nr_pages);
	vaddr_t va = (vaddr_t)o->p + (i << PAGE_SHIFT);
	bool in_window = o->nr_pages && is_vmalloc_addr(o->p), gone = false;
	enum seen seen = FAULTED;

	if (id && in_window) {
		look(va, id, i); /* now the TLB has it */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		gone = __atomic_load_n(&o->id, __ATOMIC_RELAXED) != id;
	}
	for (u32 after = 0, n = 0; id && in_window && !gone && n < 300 && after < 40; n++) {
		after += __atomic_load_n(&o->id, __ATOMIC_RELAXED) != id;
		seen = look(va, id, i);
		w->peeks += after == 1;
		w->outlived += after == 40 && seen == OLD;
		w->faulted += after == 40 && seen == FAULTED;
		if (seen == FOREIGN) {
			wrong("stale pointer 0x%lx reads what is not page %lu of 0x%lx", va, i, id);
			break;
		}
	}
	irq_restore(flags);
}

/* What belongs to all. */
static void disturb(u64 r)
{
	struct vm_area area = { 0 };
	struct vmalloc_stats stats;
	char text[200];

	switch (r % 16) {
	case 0:
		vm_unmap_aliases();
		break;
	case 1:
		drain_all_pages();
		break;
	case 2:
		kmem_cache_shrink_all();
		break;
	case 3:
		tlb_flush_all();
		break;
	case 4:
		tlb_flush_range(VMALLOC_START + ((r >> 16) % 4096 << PAGE_SHIFT), (r >> 8) % 100);
		break;
	case 5:
		vmalloc_stats(&stats);
		break;
	default: /* areas come and go meanwhile: what is found there was there a moment ago */
		for (u32 n = 0; n < 8; n++)
			if (!next_vm_area(vm_area_end(&area), &area))
				break;
		find_vm_area(VMALLOC_START + (r >> 16) % (64 * MiB), &area);
		vread(text, (void *)(VMALLOC_START + (r >> 16) % (64 * MiB)), sizeof(text));
		vmalloc_to_page((void *)(VMALLOC_START + (r >> 24) % (64 * MiB)));
	}
}

static void operate(void *random)
{
	struct worker *w = &workers[cpu_id()];
	u64 r = *(u64 *)random;

	switch (r % 64) {
	case 0 ... 3:
		take_and_change(w, r);
		break;
	case 4 ... 7:
		peek(w, r);
		break;
	default:
		make_and_free(w, r);
	}
}

/* Seconds since the last call, by the clock that keeps the time of day: CMOS, register 0, BCD. */
static u64 seconds_passed(void)
{
	static u64 last, at;
	u64 now, passed;

	outb(0x70, 0);
	now = inb(0x71);
	now = (now >> 4) * 10 + now % 16;
	passed = (now + 60 - at) % 60;
	if (passed || !last)
		last = cycles();
	if (cycles() - last > PATIENCE && limit) {
		wrong("the clock stands still");
		passed = limit;
	}
	at = now;
	return passed;
}

/* CPU 0 only. */
static void tell_time(void)
{
	u64 passed = seconds_passed(), ops = 0;

	if (!passed)
		return;
	seconds += passed;
	if (limit && (seconds >= limit || failures))
		__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	if (seconds / 10 == (seconds - passed) / 10)
		return;
	for (u32 cpu = 0; cpu < nr_workers; cpu++)
		ops += workers[cpu].ops;
	if (ops != told)
		printk_line("stress: %lu operations after %lu seconds", ops, seconds);
	told = ops;
}

static void work(void *unused)
{
	struct worker *w = &workers[cpu_id()];
	u64 share = operations / nr_workers + (cpu_id() < operations % nr_workers);

	(void)unused;
	while (limit ? !__atomic_load_n(&stop, __ATOMIC_ACQUIRE) : w->ops < share) {
		u64 r = random_next(&w->random);

		leave_limbo(w, LIMBO - 1);
		if (r >> 40 & 63)
			operate(&r);
		else if (r >> 46 & 1)
			self_interrupt(operate, &r);
		else
			disturb(r);
		if (cpu_id() == 0 && w->ops % 16 == 0)
			tell_time();
		w->ops++;
	}
	__atomic_sub_fetch(&at_work, 1, __ATOMIC_RELEASE);
}

/* As run_on_cpus(), but CPU 0 watches the clock to the end. */
static void work_on_all(void)
{
	at_work = nr_workers;
	for (u32 cpu = 1; cpu < nr_workers; cpu++)
		cpu_start(cpu, work, NULL);
	work(NULL);
	while (__atomic_load_n(&at_work, __ATOMIC_ACQUIRE)) {
		tell_time();
		cpu_serve();
	}
	for (u32 cpu = 1; cpu < nr_workers; cpu++)
		cpu_join(cpu);
}

/* The whole */

struct held {
	struct page_stats pages;
	struct vmalloc_stats window;
	u64 objects, split; /* split: leaves of the direct map, which stay so */
};

static u64 count_split(void)
{
	u64 split = 0, end = memmap.range[memmap.nr - 1].end;
	int level;

	for (u64 pa = 0; pa < end; pa += level_bytes(2)) {
		pt_walk(&kernel_pt, address_map.direct + pa, 1, &level);
		split += level == 1;
		split += level < 3 && IS_ALIGNED(pa, level_bytes(3));
	}
	return split;
}

static void count(struct held *held)
{
	struct kmem_stats cache;

	vm_unmap_aliases();
	kmem_cache_shrink_all();
	drain_all_pages();
	page_stats(&held->pages);
	vmalloc_stats(&held->window);
	held->split = count_split();
	held->objects = 0;
	for (unsigned i = 0; kmem_cache_stats(i, &cache); i++)
		held->objects += cache.in_use;
}

static void expect_equal(const char *what, u64 before, u64 after)
{
	if (before != after)
		wrong("%lu %s before, %lu after", before, what, after);
}

static void compare(const struct held *before)
{
	static struct held after;

	count(&after);
	after.pages.state[PG_TABLE] -= after.split - before->split;
	for (enum page_state state = PG_RESERVED; state < PG_NR_STATES; state++)
		if (state != PG_SLAB)
			expect_equal(page_state_name(state), before->pages.state[state],
				     after.pages.state[state]);
	expect_equal("areas", before->window.areas, after.window.areas);
	expect_equal("pages in areas", before->window.used, after.window.used);
	expect_equal("free pages in the window", before->window.free, after.window.free);
	expect_equal("objects", before->objects, after.objects);
	mm_check(wrong);
}

static bool prepare(u64 seed)
{
	objects = vzalloc((SLOTS + nr_workers) * sizeof(*objects));
	workers = vzalloc(nr_workers * sizeof(*workers));
	if (!objects || !workers)
		return false;
	for (u32 i = 0; i < SLOTS; i++)
		slots[i] = &objects[i];
	for (u32 cpu = 0; cpu < nr_workers; cpu++) {
		workers[cpu].hand = &objects[SLOTS + cpu];
		workers[cpu].random = seed ^ (u64)cpu << 32;
	}
	seconds_passed();
	failures = seconds = told = 0;
	stop = false;
	return true;
}

static void free_all(void)
{
	for (u32 i = 0; i < SLOTS; i++) {
		leave_limbo(&workers[0], LIMBO - 1);
		destroy(&workers[0], slots[i]);
	}
	for (u32 cpu = 0; cpu < nr_workers; cpu++)
		leave_limbo(&workers[cpu], 0);
}

static void report(u64 seed, const struct tlb_stats *before, u64 ipis)
{
	struct worker sum = { 0 };
	struct tlb_stats after;

	tlb_stats(&after);
	for (u32 cpu = 0; cpu < nr_workers; cpu++) {
		sum.ops += workers[cpu].ops;
		sum.refused += workers[cpu].refused;
		sum.foreign += workers[cpu].foreign;
		sum.peeks += workers[cpu].peeks;
		sum.outlived += workers[cpu].outlived;
		sum.faulted += workers[cpu].faulted;
	}
	printk_line("stress: %lu operations by %lu CPUs in %lu seconds: %lu failures", sum.ops,
		    nr_workers, seconds, failures);
	printk("  %lu freed by another CPU than made, %lu refused; of %lu read while freed %lu "
	       "outlived it, %lu faulted\n",
	       sum.foreign, sum.refused, sum.peeks, sum.outlived, sum.faulted);
	record("stress", rec_num("ops", sum.ops), rec_num("cpus", nr_workers),
	       rec_num("seed", seed), rec_num("seconds", seconds), rec_num("failures", failures),
	       rec_num("flushes", after.flushes - before->flushes),
	       rec_num("shootdowns", after.shootdowns - before->shootdowns), rec_num("ipis", ipis),
	       rec_num("freed_elsewhere", sum.foreign), rec_num("refused", sum.refused),
	       rec_num("stale_reads", sum.peeks), rec_num("stale_old", sum.outlived),
	       rec_num("stale_faults", sum.faulted));
}

static u64 run(u64 seed)
{
	static struct held before;
	struct tlb_stats tlb;
	u64 ipis;

	count(&before);
	tlb_stats(&tlb);
	ipis = nr_ipis();
	work_on_all();
	ipis = nr_ipis() - ipis;
	free_all();
	compare(&before);
	report(seed, &tlb, ipis);
	return failures;
}

/* much: operations of all CPUs together, or seconds with an s behind. */
static u64 stress(const char *much, u64 cpus)
{
	char number[24];
	size_t length = strlcpy(number, much, sizeof(number));
	bool timed = length && length < sizeof(number) && number[length - 1] == 's';
	u64 nr, failed = 1;

	if (timed)
		number[length - 1] = '\0';
	if (!parse_number(number, 10, &nr) || !nr || cpus > nr_cpus()) {
		printk("'%s' on %lu CPUs: say how many operations, or 60s, and on how many of %u\n",
		       much, cpus, nr_cpus());
		return 1;
	}
	nr_workers = cpus ? cpus : nr_cpus();
	operations = nr;
	limit = timed ? nr : 0;
	if (prepare(words.seed))
		failed = run(words.seed);
	else
		printk("there is no memory for it\n");
	vfree(workers);
	vfree(objects);
	return failed;
}

COMMAND(stress, "[much] [CPUS]", "allocate, check, free at random: 200000 times, or 60s",
	failed = stress(nr ? text[0] : "200000", nr > 1 ? n[1] : 0));
