/*
 * record.h - what test scripts read: JSON Lines on COM2. docs/records.md lists every record.
 *
 *	record("map", rec_hex("va", va), rec_num("bytes", 4096), rec_str("prot", "rw-"));
 *
 * v, seq and t are added by rec_begin. A record is built in a buffer and leaves in one piece at
 * rec_end; one that is too long is cut to a valid record {"t":…,"cut":true}. Any context;
 * one CPU at a time between begin and end (takes a lock).
 */
#pragma once

#include <kernel/types.h>

void rec_begin(const char *type);
void rec_num(const char *key, u64 value);	  /* must stay below 2^53 */
void rec_hex(const char *key, u64 value);	  /* "0x…", as a string */
void rec_str(const char *key, const char *value); /* escaped */
void rec_code(const char *key, vaddr_t code);	  /* "name+0x41" */
void rec_end(void);
#define record(type, ...) (rec_begin(type), __VA_ARGS__, rec_end())

/* The last record of a run that ended on purpose: status is "pass", "fail" or "panic". */
void rec_run_end(const char *status);

/* That, then machine_exit(). */
_Noreturn void finish(bool passed);

/* Counted for the `end` record. */
extern unsigned tests_run, tests_failed;
