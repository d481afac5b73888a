/*
 * explain.c - a fault in words.
 *
 * The CPU says little when it refuses an access: the address and five bits. All else can be found
 * out: we walk the page tables as it did, and ask of the entry where the walk ended what is mapped
 * there, what that permits, and whose guard it is. From this follows which of a dozen mistakes it
 * was. This runs inside a fault, perhaps in the middle of a change to what it looks at. So it takes
 * no lock of mm/, allocates nothing, and reads page tables and memmap only, which are always whole.
 */
#include <kernel/record.h>
#include <kernel/show.h>
#include <mm/memmap.h>
#include <mm/vmalloc.h>

static const struct advice {
	const char *why, *likely, *next;
} advice[] = {
	{ "guard", "a loop or copy ran off the area", "compare its size with the indexes used" },
	{ "freed", "a use after vfree or vunmap", "who still holds the pointer?" },
	{ "null", "a NULL pointer, plus a member's offset", "which call failed, unchecked?" },
	{ "stack", "deep recursion, or large local arrays", "see the backtrace; use kmalloc" },
	{ "readonly", "a write to code or to a constant", "string literals are constants, too" },
	{ "noexec", "a bad function pointer or return address", "only text can be executed" },
	{ "noncanonical", "no pointer at all, but other data", "who overwrote it?" },
	{ "noram", "phys_to_virt() of what is no RAM", "compare with the table that `mem` prints" },
	{ "reserved", "a page table was overwritten", "run `check`; see who writes to its frame" },
	{ "stale", "a missing flush: the tables permit it", "flush every CPU after a change" },
	{ "early", "an access before mm_init()", "boot maps the first 4 GiB and the image only" },
	{ "unmapped", "a wild pointer, or one freed long ago", "see `layout`, `areas`" },
};

/* The area that va lies in, else behind (overruns are likelier, but of stacks), else before. */
static bool area_near(vaddr_t va, struct vm_area *area)
{
	return kernel_pt.root &&
	       ((find_vm_area(va, area) && area->kind == VM_STACK) ||
		find_vm_area(ALIGN_DOWN(va, PAGE_SIZE) - 1, area) || find_vm_area(va, area));
}

const char *fault_why(const struct fault *f)
{
	bool write = f->access == ACCESS_WRITE, fetch = f->access == ACCESS_FETCH;
	struct vm_area area;
	struct mapping m;
	bool mapped = kernel_pt.root && pt_lookup(&kernel_pt, f->va, &m);
	bool near = area_near(f->va, &area);

	return !kernel_pt.root						   ? "early" :
	       !f->page_fault || !va_canonical(f->va, kernel_pt.levels)	   ? "noncanonical" :
	       f->reserved_bit						   ? "reserved" :
	       mapped && write && m.prot != PAGE_KERNEL			   ? "readonly" :
	       mapped && fetch && m.prot != PAGE_KERNEL_ROX		   ? "noexec" :
	       mapped							   ? "stale" :
	       f->va < PAGE_SIZE					   ? "null" :
	       strcmp(layout_at(f->va).name, "guard") == 0		   ? "stack" :
	       near && f->va < area.start && area.kind == VM_STACK	   ? "stack" :
	       f->va >= address_map.direct && f->va < VMALLOC_START	   ? "noram" :
	       near && (f->va < area.start || f->va >= vm_area_end(&area)) ? "guard" :
	       near && area.kind == VM_FREED				   ? "freed" :
									     "unmapped";
}

static void print_entry(pte_t entry, int level)
{
	u64 pa = pte_paddr(entry, level).v;
	struct vm_area area;

	if (pte_none(entry))
		printk("empty\n");
	else if (vm_area_decode(entry, 0, &area))
		printk("guard: %s, %lu pages\n", vm_kind_name(area.kind), area.nr_pages);
	else if (!pte_present(entry))
		printk("freed, next 0x%lx\n", entry.v);
	else if (!pte_is_leaf(entry, level))
		printk("-> table 0x%lx\n", pa);
	else
		printk("%s page 0x%lx %s%s\n", SIZE(level_bytes(level)), pa,
		       pgprot_text(pte_pgprot(entry)), pte_type_text(entry));
}

void explain_walk(vaddr_t va)
{
	int level = kernel_pt.levels, reached;
	pte_t *at, entry;

	if (!va_canonical(va, level))
		printk("  not canonical: the CPU refuses it without this walk of its lower bits\n");
	printk("  table index  entry at            holds               which is\n");
	do {
		at = pt_walk(&kernel_pt, va, level, &reached);
		entry = pte_get(at);
		printk("  %-5s [%3u]  0x%016lx  0x%016lx  ", level_name(level),
		       level_index(va, level), (vaddr_t)at, entry.v);
		print_entry(entry, level);
	} while (pte_present(entry) && !pte_is_leaf(entry, level--));
}

void explain_fault(const struct fault *f)
{
	static const char *const access[] = { "read", "write", "fetch" };
	struct image_section range = layout_at(f->va);
	const char *why = fault_why(f);
	const struct advice *a = advice;
	struct vm_area area;
	bool near = area_near(f->va, &area);

	while (strcmp(a->why, why) != 0)
		a++;
	printk("FAULT: %s at 0x%lx by %pS: %s\n", access[f->access], f->va, (void *)f->pc, why);
	if (kernel_pt.root) {
		explain_walk(f->va);
		printk("  range  %s 0x%lx-0x%lx, then %s\n", range.name, range.start, range.end - 1,
		       layout_at(range.end).name);
	}
	if (near)
		printk("  area   0x%lx-0x%lx, %lu pages\n         %s, asked for by %pS\n"
		       "  where  its byte %ld: %s\n",
		       area.start, vm_area_end(&area) - 1, area.nr_pages, vm_kind_name(area.kind),
		       area.caller, (s64)(f->va - area.start),
		       f->va < area.start	  ? "in the guard page before it" :
		       f->va < vm_area_end(&area) ? "inside" :
						    "in the guard page behind it");
	printk("  likely %s\n  next   %s\n", a->likely, a->next);
	record("fault", rec_hex("va", f->va), rec_str("why", why),
	       near ? rec_hex("area", area.start) : (void)0, rec_str("access", access[f->access]));
}
