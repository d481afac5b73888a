/*
 * string.c - moving bytes, and the few string functions that the kernel needs.
 *
 * Even a freestanding compiler calls memset, memcpy, memmove and memcmp by itself, so somebody has
 * to write them. It knows their loops when it sees them, and would make a loop inside memset a call
 * of memset: so the loops are the CPU's own instructions. Words of 8 bytes pay for whole pages.
 */
#include <kernel/printk.h>
#include <kernel/string.h>

void *memset(void *dst, int byte, size_t bytes)
{
	u64 fill = (u8)byte * 0x0101010101010101ul, words = bytes / 8, rest = bytes % 8;
	void *to = dst;

	asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(fill) : "memory");
	asm volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(fill) : "memory");
	return dst;
}

/* From below: right for a move to a lower address, too: each word is read before it is written. */
void *memcpy(void *dst, const void *src, size_t bytes)
{
	u64 words = bytes / 8, rest = bytes % 8;
	void *to = dst;

	asm volatile("rep movsq" : "+D"(to), "+S"(src), "+c"(words)::"memory");
	asm volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(rest)::"memory");
	return dst;
}

void *memmove(void *dst, const void *src, size_t bytes)
{
	void *to = (char *)dst + bytes - 1;

	if (dst <= src)
		return memcpy(dst, src, bytes);
	src = (const char *)src + bytes - 1;
	asm volatile("std; rep movsb; cld" : "+D"(to), "+S"(src), "+c"(bytes)::"memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const u8 *x = a, *y = b;

	for (; bytes && *x == *y; x++, y++)
		bytes--;
	return bytes ? *x - *y : 0;
}

size_t strlen(const char *s)
{
	return strchr(s, '\0') - s;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; a++, b++, n--)
		;
	return n ? (u8)*a - (u8)*b : 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)s;
}

size_t strlcpy(char *dst, const char *src, size_t bytes)
{
	return snprintf(dst, bytes, "%s", src);
}
