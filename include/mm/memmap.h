/*
 * memmap.h - who owns which range of physical addresses.
 *
 * A sorted list of disjoint ranges of one type each, whatever firmware and loaders gave. Used on
 * one CPU until page_alloc takes over, and read-only afterwards: no lock.
 */
#pragma once

#include <kernel/types.h>

/* In rising order of safety: where two ranges overlap, the greater type stays. */
enum memmap_type {
	MEM_USABLE,   /* free RAM: ours to hand out */
	MEM_TABLES,   /* RAM: page tables made before page_alloc stood */
	MEM_VMEMMAP,  /* RAM: the struct page array */
	MEM_MODULE,   /* RAM: files the loader brought */
	MEM_IMAGE,    /* RAM: the kernel */
	MEM_ACPI,     /* RAM: ACPI tables */
	MEM_NVS,      /* firmware's own, kept over sleep */
	MEM_RESERVED, /* firmware's, devices', or of a type we do not know */
	MEM_BAD,      /* defective */
	MEM_NR_TYPES,
};

struct memrange {
	u64 start, end; /* bytes; end is exclusive */
	enum memmap_type type;
};

#define MEMMAP_MAX 128
#define MEMMAP_LIMIT (1ul << 44) /* 16 TiB: what a 32-bit pfn reaches */
struct memmap {
	unsigned nr;
	struct memrange range[MEMMAP_MAX];
	unsigned wrapping, unknown, beyond, dropped; /* what was amiss in what we got */
};

static inline const char *memmap_type_name(enum memmap_type type)
{
	static const char *const names[] = { "usable", "tables", "vmemmap",  "module", "image",
					     "acpi",   "nvs",	 "reserved", "bad" };

	return type < MEM_NR_TYPES ? names[type] : "?";
}

/* True for the types that are RAM and therefore in the direct map. */
static inline bool memmap_is_ram(enum memmap_type type)
{
	return type <= MEM_ACPI;
}

/*
 * Lay [start, start + bytes) over the map, usable ranges shrunk to whole pages, others grown; an
 * empty one is nothing. What wraps round 2^64 or passes MEMMAP_LIMIT is clipped, an unknown type
 * reserved, and each is counted. False: the array is full, the range dropped and counted.
 */
bool memmap_insert(struct memmap *map, u64 start, u64 bytes, enum memmap_type type);

/* The range that holds pa, or NULL if none does (a hole). O(log n). */
const struct memrange *memmap_find(const struct memmap *map, paddr_t pa);

/*
 * Take bytes (a multiple of PAGE_SIZE) of usable RAM below limit, from the top down, aligned to
 * align (a power of two >= PAGE_SIZE), and mark them as type. 0, never handed out: there is none.
 * A range whose top cannot be cut off for want of room in the array is counted and passed over.
 */
must_check paddr_t memmap_alloc(struct memmap *map, u64 bytes, u64 align, u64 limit,
				enum memmap_type type);

void memmap_limit(struct memmap *map, u64 bytes); /* mem=: reserve all usable but the lowest */
u64 memmap_bytes(const struct memmap *map, enum memmap_type type); /* summed over the map */
extern struct memmap memmap; /* mm_init()'s, completed with what boot took; for tables and checks */
