/*
 * record.c - what happened, for programs: one JSON object a line.
 *
 * A record is built in a buffer and leaves in one piece. A panic in the middle of one tears
 * nothing: what was built is dropped and its number given to the next. So seq has no gap, and a
 * reader who sees one knows that output was lost. The longest strings fit, escaped.
 */
#include <arch/machine.h>
#include <kernel/record.h>
#include <kernel/spinlock.h>
#include <kernel/words.h>

unsigned tests_run, tests_failed;

static struct spinlock record_lock = SPINLOCK("record", LOCK_RECORD); /* rec_begin to rec_end */
static irqflags_t record_flags;
static char text[8192];
static size_t length;
static u64 seq;

void rec_put(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	length += vsnprintf(text + length, sizeof(text) - length, fmt, args);
	va_end(args);
	BUG_ON(length >= sizeof(text)); /* a panic begins a new one */
}

void rec_begin(const char *type)
{
	if (!panicking() && !spin_is_mine(&record_lock))
		record_flags = spin_lock(&record_lock);
	length = 0;
	rec_put("{\"v\":1,\"seq\":%lu,\"t\":\"%s\"", seq, type);
}

/* Escaped as in RFC 8259, 7; a byte that is not ASCII becomes U+FFFD, "replacement character". */
void rec_str(const char *key, const char *value)
{
	rec_put(",\"%s\":\"", key);
	for (const u8 *c = (const u8 *)value; *c; c++)
		if (*c < ' ' || *c >= 0x7f || *c == '"' || *c == '\\')
			rec_put("\\u%04x", *c < 0x80 ? *c : 0xfffd);
		else
			rec_put("%c", *c);
	rec_put("\"");
}

void rec_end(void)
{
	rec_put("}");
	seq++;
	if (words.records == RECORDS_COM2 && serial_write(COM2, text, length))
		serial_write(COM2, "\n", 1);
	else if (words.records != RECORDS_OFF)
		printk_line("@ %s", text);
	if (spin_is_mine(&record_lock))
		spin_unlock(&record_lock, record_flags);
}

void rec_run_end(const char *status)
{
	record("end", rec_str("status", status), rec_num("tests", tests_run),
	       rec_num("failed", tests_failed));
}
