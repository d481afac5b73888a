/*
 * record.h - what test scripts read: JSON Lines on COM2. docs/records.md lists every record.
 *
 *	record("map", rec_hex("va", va), rec_num("bytes", 4096), rec_str("prot", "rw-"));
 *
 * rec_begin adds v, seq and t; rec_end sends it in one piece. Any context; a lock is held between.
 */
#pragma once

#include <kernel/printk.h>

#define record(type, ...) (rec_begin(type), __VA_ARGS__, rec_end())
void rec_begin(const char *type);
void rec_put(const char *fmt, ...) printf_like(1, 2); /* JSON as it stands */
void rec_str(const char *key, const char *value);     /* escaped */
void rec_end(void);

#define rec_num(key, value) rec_put(",\"%s\":%lu", key, (u64)(value))	    /* below 2^53 */
#define rec_hex(key, value) rec_put(",\"%s\":\"0x%lx\"", key, (u64)(value)) /* as a string */
#define rec_code(key, code) rec_put(",\"%s\":\"%pS\"", key, (void *)(code)) /* "name+0x41" */

/* The last record of a run that ended on purpose: "pass", "fail", "panic" or "reboot". */
void rec_run_end(const char *status);
extern unsigned tests_run, tests_failed; /* counted for it */
