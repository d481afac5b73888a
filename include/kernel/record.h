/*
 * record.h - what test scripts read: JSON Lines on COM2. docs/records.md lists every record.
 *
 *	record("map", rec_hex("va", va), rec_num("bytes", 4096), rec_str("prot", "rw-"));
 *
 * v, seq and t are added by rec_begin. A record is built in a buffer and leaves in one piece at
 * rec_end. Any context; one CPU at a time between begin and end (takes a lock).
 */
#pragma once

#include <kernel/types.h>

#define record(type, ...) (rec_begin(type), __VA_ARGS__, rec_end())

void rec_begin(const char *type);
void rec_put(const char *fmt, ...) printf_like(1, 2); /* JSON as it stands */
void rec_str(const char *key, const char *value);     /* escaped */
void rec_end(void);

#define rec_num(key, value) rec_put(",\"%s\":%lu", key, (u64)(value))	    /* below 2^53 */
#define rec_hex(key, value) rec_put(",\"%s\":\"0x%lx\"", key, (u64)(value)) /* as a string */
#define rec_code(key, code) rec_put(",\"%s\":\"%pS\"", key, (void *)(code)) /* "name+0x41" */

/* The last record of a run that ended on purpose, drained: "pass", "fail", "panic" or "reboot". */
void rec_run_end(const char *status);

/* Counted for it. */
extern unsigned tests_run, tests_failed;
