/*
 * string.h - the ranges that these move are checked before. They are the CPU's own instructions
 * (kernel/string.c), so the compiler has nothing to check in them.
 */
#pragma once

#include_next <kernel/string.h>

void *kasan_memset(void *dst, int byte, size_t bytes);
void *kasan_memcpy(void *dst, const void *src, size_t bytes);
void *kasan_memmove(void *dst, const void *src, size_t bytes);

#define memset kasan_memset
#define memcpy kasan_memcpy
#define memmove kasan_memmove
