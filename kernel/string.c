/*
 * string.c - moving bytes, and the few string functions that the kernel needs.
 *
 * Even a freestanding compiler calls memset, memcpy, memmove and memcmp by itself, to copy a
 * struct for instance, so somebody has to write them. It also knows their loops when it sees
 * them, and would make the loop inside memset a call of memset; KEEP_LOOP, empty assembly that
 * may touch memory for all it knows, keeps it from that. What matters for speed is whole pages:
 * page tables are zeroed, freed frames filled with junk. So memory moves in words of 8 bytes.
 */
#include <kernel/string.h>

#define KEEP_LOOP() asm volatile("" ::: "memory")

typedef u64 word __attribute__((aligned(1), may_alias)); /* anywhere, over anything */

void *memset(void *dst, int byte, size_t bytes)
{
	word fill = (u8)byte * 0x0101010101010101ul, *w = dst;

	for (; bytes >= 64; w += 8, bytes -= 64) {
		w[0] = w[1] = w[2] = w[3] = w[4] = w[5] = w[6] = w[7] = fill;
		KEEP_LOOP();
	}
	while (bytes--) {
		((u8 *)w)[bytes] = byte;
		KEEP_LOOP();
	}
	return dst;
}

/* From below: right for a move to a lower address too, as each word is read before it is written. */
void *memcpy(void *dst, const void *src, size_t bytes)
{
	const u8 *from = src;
	u8 *to = dst;

	for (; bytes >= 8; to += 8, from += 8, bytes -= 8) {
		*(word *)to = *(const word *)from;
		KEEP_LOOP();
	}
	for (; bytes; bytes--) {
		*to++ = *from++;
		KEEP_LOOP();
	}
	return dst;
}

void *memmove(void *dst, const void *src, size_t bytes)
{
	if (dst <= src || (u8 *)dst >= (const u8 *)src + bytes)
		return memcpy(dst, src, bytes);
	while (bytes--) {
		((u8 *)dst)[bytes] = ((const u8 *)src)[bytes];
		KEEP_LOOP();
	}
	return dst;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const u8 *x = a, *y = b;

	for (; bytes && *x == *y; x++, y++, bytes--)
		KEEP_LOOP();
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

char *strstr(const char *hay, const char *needle)
{
	for (size_t length = strlen(needle); strncmp(hay, needle, length) != 0; hay++)
		if (!*hay)
			return NULL;
	return (char *)hay;
}

size_t strlcpy(char *dst, const char *src, size_t bytes)
{
	size_t length = strlen(src), copied = MIN(length, bytes ? bytes - 1 : 0);

	memcpy(dst, src, copied);
	if (bytes)
		dst[copied] = '\0';
	return length;
}
