/*
 * slab.h - for mm/slab.c itself: what is at most 2048 bytes large may have a red zone besides,
 * and its frames may not be touched when it has given them back.
 */
#pragma once

#include_next <mm/slab.h>

extern u64 kasan_most_bytes; /* more only while kasan_objects.c makes a cache */

#undef KMALLOC_MAX_CACHE
#define KMALLOC_MAX_CACHE kasan_most_bytes

void kasan_free_pages(struct page *page, unsigned order);
#define __free_pages kasan_free_pages
