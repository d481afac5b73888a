/*
 * memmap.h - who owns which range of physical addresses.
 *
 * A sorted list of disjoint ranges, each of one type. Firmware and loaders give theirs unsorted,
 * overlapping, wrapping and with unknown types; insertion puts that right. Used alone on one CPU
 * until page_alloc takes over, and read-only afterwards: no lock.
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
	/* What was amiss in what we were given, for the boot messages. */
	unsigned empty, wrapping, unknown, beyond, dropped;
};

/* "usable", "image", …; "?" if out of range. */
const char *memmap_type_name(enum memmap_type type);

/* True for the types that are RAM and therefore in the direct map. */
bool memmap_is_ram(enum memmap_type type);

/*
 * Lay [start, start + bytes) over the map. The result stays sorted, disjoint and merged. A range
 * that wraps round 2^64 or passes MEMMAP_LIMIT is clipped, an empty one ignored, one whose type is
 * unknown reserved, and each is counted. Usable ranges are shrunk to whole pages, others grown.
 * If the array is full the range is dropped and counted; false then.
 */
bool memmap_insert(struct memmap *map, u64 start, u64 bytes, enum memmap_type type);

/* The range that holds pa, or NULL if none does (a hole). O(log n). */
const struct memrange *memmap_find(const struct memmap *map, paddr_t pa);

/*
 * Take bytes (a multiple of PAGE_SIZE) of usable RAM below limit, aligned to align (a power of
 * two >= PAGE_SIZE), from the top down, and mark them as type. Returns its physical address, or 0
 * (never handed out) if there is none.
 */
must_check paddr_t memmap_alloc(struct memmap *map, u64 bytes, u64 align, u64 limit,
				enum memmap_type type);

/* Keep only the lowest `bytes` of usable RAM; the rest becomes reserved (kernel word mem=). */
void memmap_limit(struct memmap *map, u64 bytes);

/* Bytes of this type, summed over the map. */
u64 memmap_bytes(const struct memmap *map, enum memmap_type type);

/* The map that mm_init() was given, completed with what boot took. For tables and checks. */
extern struct memmap memmap;
