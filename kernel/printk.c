/*
 * printk.c - text for people, and the numbers that they type.
 *
 * One formatter puts characters into a sink: a buffer, or the console, COM1. So nothing is
 * allocated, and lines on the console have any length. A lock keeps the lines of two CPUs apart.
 * Two do not wait for it: a fault inside printk, whose report would wait for itself, and a panic:
 * the lock's holder may never run again.
 */
#include <arch/machine.h>
#include <kernel/printk.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>

struct sink {
	bool console;
	char *buf;
	size_t room, total; /* total: characters ever put */

	/* What stands between % and the conversion's character. */
	char flag; /* - 0 + or none */
	bool is_long;
	int width, precision; /* precision: of a string; -1: none given */
};

static struct spinlock console_lock = SPINLOCK("console", LOCK_CONSOLE);
static bool mid_line; /* the console's last character was no LF */

static void put(struct sink *sink, char c)
{
	if (sink->console) {
		serial_write(COM1, c == '\n' ? "\r\n" : &c, c == '\n' ? 2 : 1);
		mid_line = c != '\n';
	} else if (sink->total < sink->room) {
		sink->buf[sink->total] = c;
	}
	sink->total++;
}

/* text up to its end or the precision, padded to the width. */
static void put_text(struct sink *sink, const char *text)
{
	int length = 0, pad;

	while (length != sink->precision && text[length])
		length++;
	for (pad = sink->width - length; pad > 0 && sink->flag != '-'; pad--)
		put(sink, ' ');
	while (length-- > 0)
		put(sink, *text++);
	while (pad-- > 0)
		put(sink, ' ');
}

static void put_number(struct sink *sink, char sign, u64 value, unsigned base)
{
	char text[42], *p = text + sizeof(text) - 1; /* up to 40 characters, zeros included */
	int zeros = sink->flag == '0' ? MIN(sink->width, 40) - (sign != 0) : 0;

	for (*p = '\0'; !*p || value || zeros > 0; value /= base, zeros--)
		*--p = "0123456789abcdef"[value % base];
	if (sign)
		*--p = sign;
	sink->precision = -1;
	put_text(sink, p);
}

/* What begins at fmt, behind a %. Returns where the conversion's character is. */
static const char *get_spec(const char *fmt, struct sink *sink)
{
	int *number = &sink->width;

	sink->flag = *fmt == '-' || *fmt == '0' || *fmt == '+' ? *fmt++ : '\0';
	sink->is_long = false;
	sink->width = 0;
	sink->precision = -1;
	for (; *fmt && strchr(".lz0123456789", *fmt); fmt++) {
		if (*fmt == 'l' || *fmt == 'z')
			sink->is_long = true;
		else if (*fmt == '.')
			*(number = &sink->precision) = 0;
		else
			*number = *number * 10 + *fmt - '0';
	}
	return fmt;
}

static void format(struct sink *sink, const char *start, va_list args)
{
	const char *fmt, *string;
	char symbol[SYMBOL_TEXT], sign;
	s64 number;

	for (; *start; start = fmt + 1) {
		fmt = *start == '%' ? get_spec(start + 1, sink) : start;
		switch (fmt == start ? '\0' : *fmt) {
		case 'd':
			number = sink->is_long ? va_arg(args, long) : va_arg(args, int);
			sign = number < 0 ? '-' : sink->flag == '+' ? '+' : '\0';
			put_number(sink, sign, number < 0 ? -(u64)number : (u64)number, 10);
			break;
		case 'u':
		case 'x':
			number = sink->is_long ? va_arg(args, long) : va_arg(args, unsigned);
			put_number(sink, '\0', number, *fmt == 'u' ? 10 : 16);
			break;
		case 'c':
			put(sink, va_arg(args, int));
			break;
		case 's':
			string = va_arg(args, const char *);
			put_text(sink, string ? string : "(null)");
			break;
		case 'p': /* %pS, for there is no other */
			put_text(sink, symbol_text(symbol, va_arg(args, const void *)));
			fmt += fmt[1] == 'S';
			break;
		default: /* as it stands; %% gives one */
			put(sink, *start);
			fmt = *fmt == '%' ? fmt : start;
		}
	}
}

int vsnprintf(char *out, size_t bytes, const char *fmt, va_list args)
{
	struct sink sink = { .buf = out, .room = bytes };

	format(&sink, fmt, args);
	if (bytes)
		out[MIN(sink.total, bytes - 1)] = '\0';
	return sink.total;
}

int snprintf(char *out, size_t bytes, const char *fmt, ...)
{
	va_list args;
	int length;

	va_start(args, fmt);
	length = vsnprintf(out, bytes, fmt, args);
	va_end(args);
	return length;
}

static void print(bool own_line, const char *fmt, va_list args)
{
	struct sink console = { .console = true };
	bool locked = !panicking() && !spin_is_mine(&console_lock);
	irqflags_t flags = locked ? spin_lock(&console_lock) : 0;

	if (own_line && mid_line)
		put(&console, '\n');
	format(&console, fmt, args);
	if (own_line)
		put(&console, '\n');
	if (locked)
		spin_unlock(&console_lock, flags);
}

void printk(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(false, fmt, args);
	va_end(args);
}

void printk_line(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(true, fmt, args);
	va_end(args);
}

bool parse_number(const char *text, unsigned base, u64 *value)
{
	static const char digits[] = "0123456789abcdef", units[] = "kmgtpe";
	bool has_0x = text[0] == '0' && (text[1] | 32) == 'x';
	const char *start = text + (has_0x ? 2 : 0), *found;

	base = has_0x ? 16 : base;
	for (text = start, *value = 0; *text; text++) {
		found = strchr(digits, *text >= 'A' ? *text | 32 : *text);
		if (!found || found >= digits + base)
			break;
		if (__builtin_mul_overflow(*value, base, value) ||
		    __builtin_add_overflow(*value, found - digits, value))
			return false;
	}
	if (!*text || text == start)
		return text != start;
	found = strchr(units, *text | 32);
	return base == 10 && found && !text[1] &&
	       !__builtin_mul_overflow(*value, KiB << 10 * (found - units), value);
}

const char *size_text(char out[SIZE_TEXT], u64 bytes)
{
	unsigned unit = 0;

	for (; bytes >= 16 * KiB || (bytes && bytes % KiB == 0); unit++)
		bytes = bytes / KiB + (bytes % KiB >= KiB / 2);
	snprintf(out, SIZE_TEXT, "%lu %c%s", bytes, "BKMGTPE"[unit], unit ? "iB" : "");
	return out;
}
