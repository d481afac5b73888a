/*
 * printk.h - text for people, on COM1 (and the screen, where there is one).
 */
#pragma once

#include <stdarg.h>
#include <kernel/types.h>

/*
 * Formats: %d %u %x %c %s %p %% with the lengths l, ll, z, flags 0 - +, width and
 * precision (also *), and two of Linux's own: %pS prints a code address as name+0xoffset, %pB a
 * return address likewise, but never as the function behind the call. An unknown format is printed
 * as it stands. Any context.
 */
void printk(const char *fmt, ...) printf_like(1, 2);
void vprintk(const char *fmt, va_list args);

/* The same as a line of its own: ends the one that was begun, if any, and adds the newline. */
void printk_line(const char *fmt, ...) printf_like(1, 2);

/* As in C99: returns the length the whole would have; always NUL-terminates if bytes > 0. */
int vsnprintf(char *out, size_t bytes, const char *fmt, va_list args);
int snprintf(char *out, size_t bytes, const char *fmt, ...) printf_like(3, 4);

/* "64K", "2M", "1G", "3T", "4096", "0x1000" to bytes; false if malformed, negative, or too big for 64 bits. */
bool parse_size(const char *text, u64 *bytes);

/* Hex digits, with or without 0x before them; false as above. */
bool parse_hex(const char *text, u64 *value);

/*
 * A count of bytes for people, in 8 columns at most: "64 KiB", "32 TiB", "1.5 GiB". What is not
 * exact is rounded down and has a decimal, unless it is 100 or more. Returns out.
 */
#define SIZE_TEXT 16
const char *size_text(char out[SIZE_TEXT], u64 bytes);

/* The same into a buffer of its own, which lives as long as the block it stands in. */
#define SIZE(bytes) size_text((char[SIZE_TEXT]){ 0 }, bytes)
