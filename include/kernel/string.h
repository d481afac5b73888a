/* string.h - what we have of C11 7.24; the compiler may call the first four by itself. */
#pragma once

#include <kernel/types.h>

void *memset(void *dst, int byte, size_t bytes);
void *memcpy(void *dst, const void *src, size_t bytes);
void *memmove(void *dst, const void *src, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);

/* As in BSD: copies at most bytes - 1 characters, always terminates; returns strlen(src). */
size_t strlcpy(char *dst, const char *src, size_t bytes);
