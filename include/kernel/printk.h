/* printk.h - text for people, on COM1. */
#pragma once

#include <stdarg.h>
#include <kernel/types.h>

/*
 * %d %u %x %c %s %% with length l, ll, z, one flag of - 0 +, width, precision of strings; and
 * Linux's %pS: a code address as name+0xoffset. Others are printed as they stand. Any context.
 */
void printk(const char *fmt, ...) printf_like(1, 2);

/* The same as a line of its own: ends the one that was begun, if any, and adds the newline. */
void printk_line(const char *fmt, ...) printf_like(1, 2);

/* As in C99: returns the length the whole would have; always NUL-terminates if bytes > 0. */
int vsnprintf(char *out, size_t bytes, const char *fmt, va_list args);
int snprintf(char *out, size_t bytes, const char *fmt, ...) printf_like(3, 4);

/* A code address as "name+0x41", from a table that the build links in, or "0x…". Returns out. */
#define SYMBOL_TEXT 80
const char *symbol_text(char out[SYMBOL_TEXT], const void *at);

/* In base 10 also sizes, "64K" ... "1E"; 0x in either. False: malformed, negative, over 64 bits. */
bool parse_number(const char *text, unsigned base, u64 *value);

/* Bytes for people, rounded: "1536 MiB". Returns out. SIZE's lives as long as its block. */
#define SIZE_TEXT 16
const char *size_text(char out[SIZE_TEXT], u64 bytes);
#define SIZE(bytes) size_text((char[SIZE_TEXT]){ 0 }, bytes)
