/*
 * record.c - what happened, for programs: one JSON object a line.
 *
 * A record is built in a buffer and leaves in one piece, so that a panic in the middle of one
 * tears nothing: the half-built record is dropped and its number given to the next. So seq has no
 * gap, and a reader who sees one knows that output was lost. A record that outgrows the buffer
 * would be broken JSON; one that says so takes its place. Nothing here needs memory.
 */
#include <arch/machine.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/record.h>
#include <kernel/spinlock.h>
#include <kernel/words.h>

unsigned tests_run, tests_failed;

static struct spinlock record_lock = SPINLOCK("record"); /* from rec_begin to rec_end */
static irqflags_t record_flags;
static const char *record_type;
static char text[2048];
static size_t length; /* what the record needs: beyond sizeof(text) it is too long */
static u64 seq;

static void printf_like(1, 2) append(const char *fmt, ...)
{
	size_t at = MIN(length, sizeof(text));
	va_list args;

	va_start(args, fmt);
	length += vsnprintf(text + at, sizeof(text) - at, fmt, args);
	va_end(args);
}

static void start(void)
{
	length = 0;
	append("{\"v\":1,\"seq\":%lu,\"t\":\"%s\"", seq, record_type);
}

void rec_begin(const char *type)
{
	bool mine = spin_is_mine(&record_lock); /* a fault while building one: drop that one */
	irqflags_t flags;

	while (!mine && !panicking())
		if ((mine = spin_trylock(&record_lock, &flags)))
			record_flags = flags;
	record_type = type;
	start();
}

void rec_num(const char *key, u64 value)
{
	append(",\"%s\":%lu", key, value);
}

void rec_hex(const char *key, u64 value)
{
	append(",\"%s\":\"0x%lx\"", key, value);
}

/* Escaped as RFC 8259, 7 has it; a byte that is not ASCII becomes U+FFFD, "replacement character". */
void rec_str(const char *key, const char *value)
{
	append(",\"%s\":\"", key);
	for (; *value; value++) {
		if ((u8)*value < ' ' || (u8)*value >= 0x7f)
			append("\\u%04x", (u8)*value < 0x80 ? *value : 0xfffd);
		else
			append("%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
	}
	append("\"");
}

void rec_code(const char *key, vaddr_t code)
{
	append(",\"%s\":\"%pS\"", key, (void *)code);
}

void rec_end(void)
{
	append("}");
	if (length >= sizeof(text)) {
		start();
		append(",\"cut\":true}");
	}
	seq++;
	if (words.records == RECORDS_COM2 && serial_present(COM2)) {
		serial_write(COM2, text, length);
		serial_write(COM2, "\n", 1);
	} else if (words.records != RECORDS_OFF) {
		printk_line("@ %s", text);
	}
	if (spin_is_mine(&record_lock))
		spin_unlock(&record_lock, record_flags);
}

void rec_run_end(const char *status)
{
	rec_begin("end");
	rec_str("status", status);
	rec_num("tests", tests_run);
	rec_num("failed", tests_failed);
	rec_end();
	serial_drain();
}

void finish(bool passed)
{
	rec_run_end(passed ? "pass" : "fail");
	machine_exit(passed ? 0 : 1);
}
