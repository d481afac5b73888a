/* pte.h - what an entry's bits mean to a CPU, and to arch/sim's MMU. Intel SDM Vol. 3A, 4.5. */
#pragma once

#include <kernel/types.h>

#define PTE_P (1ul << 0)   /* present */
#define PTE_W (1ul << 1)   /* writable */
#define PTE_U (1ul << 2)   /* user: we never set it */
#define PTE_PWT (1ul << 3) /* with PCD, which entry of IA32_PAT: cpu.c has them */
#define PTE_PCD (1ul << 4)
#define PTE_A (1ul << 5)  /* accessed: set by the CPU */
#define PTE_D (1ul << 6)  /* dirty: set by the CPU */
#define PTE_PS (1ul << 7) /* a leaf, at levels 2 and 3 */
#define PTE_G (1ul << 8)  /* global: outlives a load of CR3 */
#define PTE_NX (1ul << 63)
#define PTE_ADDRESS 0x000ffffffffff000ul /* bits 51..12 */

/* Every leaf of ours is marked used and written from the start: the CPU need never write it back. */
#define PTE_LEAF (PTE_P | PTE_A | PTE_D | PTE_G)

static inline pte_t pte_make_table(paddr_t table)
{
	return (pte_t){ table.v | PTE_P | PTE_W | PTE_A };
}

/* The memory type, which is PWT and PCD: 0 cached (WB), PAGE_WC or PAGE_UC. SDM Vol. 3A, 12.12. */
static inline pgprot_t pte_type(pte_t pte)
{
	return (pte.v & (PTE_PWT | PTE_PCD)) >> 1;
}

/* "" for what is cached, as most is. */
static inline const char *pte_type_text(pte_t pte)
{
	return (const char *[]){ "", " WC", " UC-", " UC" }[pte_type(pte) / PAGE_WC];
}

static inline pte_t pte_make_leaf(paddr_t pa, int level, pgprot_t prot)
{
	pgprot_t may = prot & PAGE_KERNEL_ROX;
	u64 rights = may == PAGE_KERNEL ? PTE_W | PTE_NX : may == PAGE_KERNEL_ROX ? 0 : PTE_NX;

	rights |= (u64)(prot & PAGE_UC) << 1;
	return (pte_t){ pa.v | PTE_LEAF | rights | (level > 1 ? PTE_PS : 0) };
}

static inline pte_t pte_make_note(u64 note)
{
	return (pte_t){ note & ~PTE_P };
}

static inline bool pte_none(pte_t pte)
{
	return pte.v == 0;
}

static inline bool pte_present(pte_t pte)
{
	return pte.v & PTE_P;
}

static inline bool pte_is_leaf(pte_t pte, int level)
{
	return level == 1 || (pte.v & PTE_PS);
}

/* In a large leaf, bit 12 is PAT and the bits up to the page's size are reserved. */
static inline paddr_t pte_paddr(pte_t pte, int level)
{
	int shift = PAGE_SHIFT + (pte_is_leaf(pte, level) ? 9 * (level - 1) : 0);

	return paddr((pte.v & PTE_ADDRESS) >> shift << shift);
}

static inline pgprot_t pte_pgprot(pte_t pte)
{
	return pte.v & PTE_W ? PAGE_KERNEL : pte.v & PTE_NX ? PAGE_KERNEL_RO : PAGE_KERNEL_ROX;
}

static inline bool pte_forbidden(pte_t pte)
{
	return ((pte.v & PTE_W) && !(pte.v & PTE_NX)) || (pte.v & PTE_U);
}

static inline pte_t pte_get(const pte_t *slot)
{
	return (pte_t){ __atomic_load_n(&slot->v, __ATOMIC_RELAXED) };
}

static inline void pte_set(pte_t *slot, pte_t pte)
{
	__atomic_store_n(&slot->v, pte.v, __ATOMIC_RELEASE);
}

static inline void pte_copy(pte_t *to, const pte_t *from, u64 nr)
{
	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(nr)::"memory");
}

static inline void pte_clear(pte_t *to, u64 nr)
{
	asm volatile("rep stosq" : "+D"(to), "+c"(nr) : "a"(0ul) : "memory");
}

static inline bool pte_replace(pte_t *slot, pte_t was, pte_t pte)
{
	return __atomic_compare_exchange_n(&slot->v, &was.v, pte.v, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}
