/*
 * explain.c - a fault in words.
 *
 * The CPU says little when it refuses an access: the address and five bits. All else can be found
 * out: we walk the page tables as it did, print each entry on the way, and ask of the one where the
 * walk ended what is mapped there, what it permits, and whose guard it is. From that follows which of
 * a dozen mistakes it was (fault_why), and the table of advice below says what to look for.
 *
 * This runs inside a fault, perhaps in the middle of a change to what it looks at. So it takes no
 * lock of mm/, allocates nothing, and reads page tables and memmap only, which are always whole.
 */
#include <kernel/explain.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/show.h>
#include <kernel/string.h>
#include <kernel/symbols.h>
#include <mm/memmap.h>
#include <mm/pagetable.h>
#include <mm/vmalloc.h>

static const struct advice {
	const char *why, *likely, *next;
} advice[] = {
	{ "guard", "a loop or copy ran off that area, at its end or its start",
	  "compare the bytes asked for with the indexes used" },
	{ "freed", "a use after free: this was given back by vfree or vunmap",
	  "see who still holds the pointer; set it to NULL where it is freed" },
	{ "null", "a NULL pointer, plus the offset of a struct's member or an index",
	  "find the call whose failure (NULL) was not checked" },
	{ "stack", "a stack overflow: deep recursion, or a large array in a function",
	  "look for a cycle in the backtrace; move large arrays to kmalloc" },
	{ "readonly", "a write to a constant, to code, or to a read-only mapping",
	  "see what the pointer should point to; string literals are read-only, too" },
	{ "noexec", "a call through a bad function pointer, or a smashed return address",
	  "no page is both writable and executable: code runs from text only" },
	{ "noncanonical", "no pointer at all: its upper bits are not copies of the top one",
	  "it was overwritten, never set, or read from the wrong place" },
	{ "noram", "phys_to_virt() of an address that is no RAM, or an index gone astray",
	  "compare the physical address with the table that `mem` prints" },
	{ "reserved", "a page table was overwritten: an entry has bits that must be zero",
	  "run `check`; look who writes to the table's frame" },
	{ "stale", "a missing flush: the tables permit it, this CPU's TLB does not yet",
	  "every change to a present entry needs a flush on every CPU" },
	{ "early", "an access before mm_init(): our page tables do not stand yet",
	  "look at boot/: only the first 4 GiB and the image are mapped there" },
	{ "unmapped", "a wild pointer, or one into an area freed and flushed long ago",
	  "see who computed it; `layout` and `areas` show what there is" },
};

/*
 * The area that va lies in, before or behind. The page behind an area may be the next one's guard:
 * who touches it has more likely run off the end of the first.
 */
static bool area_near(vaddr_t va, struct vm_area *area)
{
	return find_vm_area(ALIGN_DOWN(va, PAGE_SIZE) - 1, area) || find_vm_area(va, area);
}

static const char *why_absent(vaddr_t va)
{
	struct vm_area area;

	if (va < PAGE_SIZE)
		return "null";
	if (strcmp(layout_name(va), "guard") == 0)
		return "stack";
	if (va >= address_map.direct && va < VMALLOC_START)
		return "noram";
	if (!area_near(va, &area))
		return "unmapped";
	if (va - area.start >= area.nr_pages << PAGE_SHIFT)
		return "guard";
	return area.kind == VM_FREED ? "freed" : "unmapped";
}

const char *fault_why(const struct fault *f)
{
	struct mapping m;

	if (!f->page_fault || !va_canonical(f->va, address_map.levels))
		return "noncanonical";
	if (f->reserved_bit)
		return "reserved";
	if (!kernel_pt.root)
		return "early";
	if (!pt_lookup(&kernel_pt, f->va, &m))
		return why_absent(f->va);
	if (f->access == ACCESS_WRITE && m.prot != PAGE_KERNEL)
		return "readonly";
	return f->access == ACCESS_FETCH && m.prot != PAGE_KERNEL_ROX ? "noexec" : "stale";
}

const char *entry_text(char out[ENTRY_TEXT], pte_t entry, int level)
{
	u64 pa = pte_paddr(entry, level).v;
	char size[SIZE_TEXT];
	struct vm_area area;

	if (pte_none(entry))
		strlcpy(out, "empty", ENTRY_TEXT);
	else if (vm_area_decode(entry, 0, &area))
		snprintf(out, ENTRY_TEXT, "guard: %s, %lu pages", vm_kind_name(area.kind),
			 area.nr_pages);
	else if (!pte_present(entry))
		snprintf(out, ENTRY_TEXT, "freed, was 0x%lx", pa);
	else if (!pte_is_leaf(entry, level))
		snprintf(out, ENTRY_TEXT, "-> table 0x%lx", pa);
	else
		snprintf(out, ENTRY_TEXT, "%s page 0x%lx %s", size_text(size, level_bytes(level)),
			 pa, pgprot_text(pte_pgprot(entry)));
	return out;
}

void explain_walk(vaddr_t va)
{
	int level = kernel_pt.levels, reached;
	char text[ENTRY_TEXT];
	pte_t *entry;

	printk("  table index  entry at            holds               which is\n");
	do {
		entry = pt_walk(&kernel_pt, va, level, &reached);
		printk("  %-5s [%3u]  0x%016lx  0x%016lx  %s\n", level_name(level),
		       level_index(va, level), (vaddr_t)entry, pte_get(entry).v,
		       entry_text(text, pte_get(entry), level));
	} while (pte_present(pte_get(entry)) && !pte_is_leaf(pte_get(entry), level--));
}

static void explain_area(vaddr_t va, const struct vm_area *area)
{
	vaddr_t end = area->start + (area->nr_pages << PAGE_SHIFT);
	struct vm_area next;

	printk("  area   0x%016lx-0x%016lx, %lu pages\n         %s, asked for by %pS\n"
	       "  where  its byte %ld: %s\n",
	       area->start, end - 1, area->nr_pages, vm_kind_name(area->kind),
	       (void *)(address_map.image + area->caller), (s64)(va - area->start),
	       va < area->start	       ? "in the guard page before it" :
	       va < end		       ? "inside" :
	       find_vm_area(va, &next) ? "past its end, in the next area's guard page" :
					 "past its end, in a page kept free");
}

void explain_fault(const struct fault *f)
{
	static const char *const access[] = { "read", "write", "fetch" };
	const char *why = fault_why(f), *above = layout_name(ALIGN_UP(f->va + 1, PAGE_SIZE));
	u64 pa = f->va - address_map.direct;
	const struct memrange *r = memmap_find(&memmap, paddr(pa));
	const struct advice *a = advice;
	struct vm_area area;
	bool near = kernel_pt.root && area_near(f->va, &area);

	while (strcmp(a->why, why) != 0)
		a++;
	printk("FAULT: %s at 0x%lx by %pS: %s\n", access[f->access], f->va, (void *)f->pc, why);
	if (kernel_pt.root && va_canonical(f->va, address_map.levels))
		explain_walk(f->va);
	printk("  range  %s\n", layout_name(f->va));
	if (near)
		explain_area(f->va, &area);
	if (strcmp(why, "noram") == 0)
		printk("  where  physical 0x%lx, %s\n", pa,
		       r ? memmap_type_name(r->type) : "a hole");
	if (strcmp(why, "stack") == 0)
		printk("  where  in the guard page below %s\n", above);
	printk("  likely %s\n  next   %s\n", a->likely, a->next);
	rec_begin("fault");
	rec_hex("va", f->va);
	rec_str("why", why);
	if (near)
		rec_hex("area", area.start);
	rec_str("access", access[f->access]);
	rec_end();
}
