/*
 * sim.h - the simulated machine, as tests see it from outside: RAM, the walker, the TLB.
 */
#pragma once

#include <arch/mmu.h>
#include <kernel/types.h>

/* Where the machine lies in our process: far from program, libraries, stack and sanitizers. */
#define SIM_DIRECT 0x180000000000ul
#define SIM_WINDOW 0x200000000000ul
#define SIM_WINDOW_BYTES (32 * TiB)
#define SIM_VMEMMAP 0x400000000000ul
#define SIM_END (SIM_VMEMMAP + 64 * GiB)

/* One stretch of RAM, in physical addresses. */
struct sim_ram {
	u64 start, end;
};

/*
 * Build a machine with this RAM (kept, not copied; rising, at most 4 GiB) and this many levels of
 * page tables, and fill in address_map. As after boot: no root yet; the direct map of RAM works.
 */
void sim_init(const struct sim_ram *ram, unsigned nr_ram, int levels);

/* The root table in use. */
paddr_t mmu_root(void);

/* What the page tables say about an address, found by the simulated hardware's own walk. */
struct sim_leaf {
	bool present;
	bool reserved;	     /* an entry has a bit set that must be 0, or leads to no RAM */
	bool writable, exec; /* by all entries on the way together */
	u64 pa, bytes;	     /* of the whole leaf; bytes also where the walk ended short */
	u64 entry;	     /* the last one read */
};
struct sim_leaf sim_walk(u64 root, int levels, vaddr_t va);

/* True if the TLB holds a translation for va, stale or not. */
bool sim_tlb_holds(vaddr_t va);

struct sim_stats {
	u64 fills, evictions, flushes, full_flushes;
};
extern struct sim_stats sim_stats;

/* Where COM2's records go: a file, or nowhere. */
bool sim_records_to(const char *path);

/* Who types on COM1, a byte a call, and who sees what it shows; NULL: nobody, and standard output. */
extern int (*sim_keyboard)(void);
extern void (*sim_screen)(char c);
