/*
 * page_alloc.h - the calls that hand out frames and take them back go through kasan_pages.c.
 *
 * In the header they are inline, so the linker cannot put others in their place.
 */
#pragma once

#include_next <mm/page_alloc.h>

struct page *kasan_alloc_pages(gfp_t gfp, unsigned order);
void *kasan_get_free_pages(gfp_t gfp, unsigned order);
void kasan_free_pages(struct page *page, unsigned order);
void kasan_free_pages_at(void *p, unsigned order);

#define alloc_pages kasan_alloc_pages
#define __get_free_pages kasan_get_free_pages
#define __free_pages kasan_free_pages
#define free_pages kasan_free_pages_at
