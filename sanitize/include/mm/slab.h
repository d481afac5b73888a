/*
 * slab.h - kmalloc, inline in the header, goes through kasan_objects.c. The linker sees to all others.
 */
#pragma once

#include_next <mm/slab.h>

void *kasan_kmalloc(u64 bytes, gfp_t gfp);
void *kasan_kzalloc(u64 bytes, gfp_t gfp);

#define kmalloc kasan_kmalloc
#define kzalloc kasan_kzalloc
