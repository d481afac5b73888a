/*
 * areas.h - the model of the vmalloc window: a list of areas, and what each frame holds.
 *
 * An area is where it begins, its pages' frames and protections. A frame is whose it is, and its
 * first and last 8 bytes, whatever addresses show it. What the machine does with an address is asked
 * of the simulated MMU's own walk.
 */
#pragma once

#include <mm/vmalloc.h>

#include "fuzz.h"

#define FRAMES 0x4027u /* of the machine in fuzz.c */
#define AREA_PAGES 1100u
#define AREAS_MAX 24u

struct area {
	u8 *p;
	u64 nr_pages, offset; /* offset: of what ioremap returned, in the first page */
	enum vm_kind kind;
	u8 prot[AREA_PAGES];
	u64 pfn[AREA_PAGES];
};
extern struct area areas[AREAS_MAX], last_freed;
extern unsigned nr_areas;

struct frame {
	enum { NOT_OURS, AREAS, OURS } owner;
	u32 shown;	 /* by so many pages of vmap */
	u32 writable;	 /* of these, so many writable */
	u64 first, last; /* what it holds */
};
extern struct frame frames[FRAMES];

/* A call gave an area of this kind: what is there must be as it should be. zero: filled with zeros. */
void area_came(void *p, u64 nr_pages, enum vm_kind kind, pgprot_t prot, bool zero);

/* All of area i is to be freed: is it still what it was? Then forget it. */
void area_goes(unsigned i);

/* It was freed: nothing is mapped there, and who looks sees at most what was there. */
void expect_gone(bool eager);

void expect_area(const struct area *area);	  /* entries, protections, contents, guards */
void expect_page(const struct area *area, u64 i); /* the same of one page */
void stamp(struct area *area, u64 i);		  /* write something new there */
struct area *area_at(vaddr_t va);		  /* the live one with this page, or its guard */
bool fits_anywhere(u64 nr_pages, u64 align, u64 lo,
		   u64 hi); /* no area or guard in the way? lo, hi near */

static inline bool has_frames(const struct area *area)
{
	return area->kind != VM_IOREMAP && area->pfn[0] < FRAMES;
}
