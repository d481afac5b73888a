/*
 * printk.h - text for people, on COM1 (and the screen, where there is one).
 */
#pragma once

#include <stdarg.h>
#include <kernel/types.h>

/*
 * Formats: %d %u %x %c %s %% with the lengths l, ll, z, one of the flags - 0 +, width, for strings
 * precision, and Linux's %pS: a code address as name+0xoffset. An unknown format is
 * printed as it stands. Any context.
 */
void printk(const char *fmt, ...) printf_like(1, 2);

/* The same as a line of its own: ends the one that was begun, if any, and adds the newline. */
void printk_line(const char *fmt, ...) printf_like(1, 2);

/* As in C99: returns the length the whole would have; always NUL-terminates if bytes > 0. */
int vsnprintf(char *out, size_t bytes, const char *fmt, va_list args);
int snprintf(char *out, size_t bytes, const char *fmt, ...) printf_like(3, 4);

/*
 * What people type: in base 10 also sizes, "64K", "2M", ... "1E"; in either base hex behind 0x.
 * False if malformed, negative, or beyond 64 bits.
 */
bool parse_number(const char *text, unsigned base, u64 *value);

/* A count of bytes for people, rounded down: "64 KiB", "1536 MiB". Returns out. */
#define SIZE_TEXT 16
const char *size_text(char out[SIZE_TEXT], u64 bytes);

/* The same into a buffer of its own, which lives as long as the block it stands in. */
#define SIZE(bytes) size_text((char[SIZE_TEXT]){ 0 }, bytes)
