/*
 * kasan_pages.c - frames: free ones may not be touched until they are handed out again.
 *
 * These are the calls of page_alloc.h for all but the allocators themselves (slab.c, kmalloc.c,
 * page_alloc.c), which look after what they take: see kasan_objects.c. A free that page_alloc will
 * refuse must change nothing here, so it is looked at first.
 */
#include <mm/page_alloc.h>
#include <mm/pagetable.h>

#include "kasan.h"

u64 __real_alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages);
u64 __wrap_alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages);
void __real_free_pages_bulk(u64 nr_pages, struct page **pages);
void __wrap_free_pages_bulk(u64 nr_pages, struct page **pages);
struct page *kasan_alloc_pages(gfp_t gfp, unsigned order);
void *kasan_get_free_pages(gfp_t gfp, unsigned order);
void kasan_free_pages(struct page *page, unsigned order);
void kasan_free_pages_at(void *p, unsigned order);

static struct page *hand_out(struct page *page, unsigned order, vaddr_t caller)
{
	if (!page)
		return NULL;
	page->owner = code_offset(caller); /* and not our own code */
	kasan_allow(page_address(page), PAGE_SIZE << order);
	for (u64 i = 0; i < 1ul << order; i++)
		kasan_frame_sites[page_to_pfn(page) + i] =
			(struct kasan_sites){ code_offset(caller), 0 };
	return page;
}

static void take_back(struct page *page, unsigned order, vaddr_t caller)
{
	if (!IS_ALIGNED((vaddr_t)page, sizeof(*page)) || !pfn_valid(page_to_pfn(page)) ||
	    page->state_and_order != PAGE_IS(PG_ALLOC, order))
		return;
	kasan_poison(page_address(page), PAGE_SIZE << order, SHADOW_FRAME);
	for (u64 i = 0; i < 1ul << order; i++)
		kasan_frame_sites[page_to_pfn(page) + i].freed = code_offset(caller);
}

struct page *kasan_alloc_pages(gfp_t gfp, unsigned order)
{
	return hand_out(alloc_pages(gfp, order), order, CALLER());
}

void *kasan_get_free_pages(gfp_t gfp, unsigned order)
{
	struct page *page = hand_out(alloc_pages(gfp, order), order, CALLER());

	return page ? page_address(page) : NULL;
}

void kasan_free_pages(struct page *page, unsigned order)
{
	take_back(page, order, CALLER());
	__free_pages(page, order);
}

void kasan_free_pages_at(void *p, unsigned order)
{
	struct page *page = IS_ALIGNED((vaddr_t)p, PAGE_SIZE) ? direct_to_page(p) : NULL;

	if (page)
		take_back(page, order, CALLER());
	__free_pages(page, order);
}

u64 __wrap_alloc_pages_bulk(gfp_t gfp, u64 nr_pages, struct page **pages)
{
	u64 got = __real_alloc_pages_bulk(gfp, nr_pages, pages);

	for (u64 i = 0; i < got; i++)
		hand_out(pages[i], 0, CALLER());
	return got;
}

void __wrap_free_pages_bulk(u64 nr_pages, struct page **pages)
{
	for (u64 i = 0; i < nr_pages; i++)
		take_back(pages[i], 0, CALLER());
	__real_free_pages_bulk(nr_pages, pages);
}

void kasan_describe_frame(struct kasan_text *text, vaddr_t bad)
{
	struct page *page = direct_to_page((void *)bad), *head;
	struct kasan_sites *sites;
	vaddr_t start;

	if (!page)
		return;
	head = page_head(page_to_pfn(page));
	sites = &kasan_frame_sites[page_to_pfn(page)];
	if (head && head->state == PG_KMALLOC) {
		start = (vaddr_t)page_address(head);
		sites = &kasan_frame_sites[page_to_pfn(head)];
		kasan_say_object(text, bad, start, kasan_allowed(start, PAGE_SIZE << head->order),
				 "a large kmalloc");
	} else {
		kasan_say_object(text, bad, (vaddr_t)page_address(page), PAGE_SIZE, "a frame, ");
		kasan_say(text, "%s now", head ? page_state_name(head->state) : "?");
	}
	kasan_say_sites(text, sites->allocated, sites->freed);
}
