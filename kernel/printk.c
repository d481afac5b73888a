/*
 * printk.c - text for people.
 *
 * One formatter serves printk and snprintf alike: it puts characters into a sink, a small buffer
 * that knows what to do when it is full. snprintf's only counts on; the console's is written to
 * COM1 and starts anew, so that a line may have any length and nothing need be allocated.
 *
 * One lock keeps the lines of two CPUs apart. Two must not wait for it: a fault in the middle of a
 * printk, whose report would wait for itself, and a panic, since the lock's holder may never run
 * again. Garbled text is better than none.
 */
#include <arch/machine.h>
#include <kernel/printk.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>
#include <kernel/symbols.h>

struct sink {
	char *buf;
	size_t room, used, total; /* total: characters ever put */
	void (*full)(struct sink *sink);
};

/* What stands between % and the conversion's character. */
struct spec {
	bool left, plus, zero, is_long;
	int width, precision; /* precision -1: none given */
};

static struct spinlock console_lock = SPINLOCK("console");
static bool mid_line; /* the console's last character was no LF */

static void put(struct sink *sink, char c, int times)
{
	for (; times > 0; times--, sink->total++) {
		if (sink->used == sink->room && sink->full)
			sink->full(sink);
		if (sink->used < sink->room)
			sink->buf[sink->used++] = c;
	}
}

/* sign, zeros, and text up to its end or the precision, padded to the width. */
static void put_field(struct sink *sink, const struct spec *spec, const char *sign, int zeros,
		      const char *text)
{
	int length = 0, pad;

	while (length != spec->precision && text[length])
		length++;
	pad = spec->width - (int)strlen(sign) - MAX(zeros, 0) - length;
	put(sink, ' ', spec->left ? 0 : pad);
	while (*sign)
		put(sink, *sign++, 1);
	put(sink, '0', zeros);
	while (length-- > 0)
		put(sink, *text++, 1);
	put(sink, ' ', spec->left ? pad : 0);
}

static void put_number(struct sink *sink, struct spec *spec, const char *sign, u64 value,
		       unsigned base)
{
	char text[21], *p = text + sizeof(text) - 1;
	int digits, least = spec->precision < 0 ? 1 : spec->precision;

	for (*p = '\0'; value; value /= base)
		*--p = "0123456789abcdef"[value % base];
	digits = text + sizeof(text) - 1 - p;
	if (spec->zero && !spec->left && spec->precision < 0)
		least = MAX(least, spec->width - (int)strlen(sign));
	spec->precision = -1; /* meant the digits, not the text */
	put_field(sink, spec, sign, least - digits, p);
}

/* Returns where the conversion's character is. */
static const char *get_spec(const char *fmt, va_list *args, struct spec *spec)
{
	int *number = &spec->width;

	*spec = (struct spec){ .precision = -1 };
	for (; *fmt && strchr("-+.*lz0123456789", *fmt); fmt++) {
		if (*fmt == '-')
			spec->left = true;
		else if (*fmt == '+')
			spec->plus = true;
		else if (*fmt == 'l' || *fmt == 'z')
			spec->is_long = true;
		else if (*fmt == '*')
			*number = va_arg(*args, int);
		else if (*fmt == '.')
			*(number = &spec->precision) = 0;
		else if (*fmt == '0' && !*number && number == &spec->width)
			spec->zero = true;
		else
			*number = *number * 10 + *fmt - '0';
	}
	return fmt;
}

/* One conversion, from its % at start. Returns its last character. */
static const char *convert(struct sink *sink, const char *start, va_list *args)
{
	struct spec spec;
	const char *fmt = get_spec(start + 1, args, &spec), *string;
	char text[SYMBOL_TEXT];
	s64 number;

	switch (*fmt) {
	case 'd':
		number = spec.is_long ? va_arg(*args, long) : va_arg(*args, int);
		string = spec.plus ? "+" : "";
		put_number(sink, &spec, number < 0 ? "-" : string,
			   number < 0 ? -(u64)number : (u64)number, 10);
		return fmt;
	case 'u':
	case 'x':
		number = spec.is_long ? va_arg(*args, unsigned long) : va_arg(*args, unsigned);
		put_number(sink, &spec, "", number, *fmt == 'u' ? 10 : 16);
		return fmt;
	case 'c':
		put_field(sink, &spec, "", 0, (char[]){ va_arg(*args, int), '\0' });
		return fmt;
	case 's':
		string = va_arg(*args, const char *);
		put_field(sink, &spec, "", 0, string ? string : "(null)");
		return fmt;
	case 'p':
		number = va_arg(*args, vaddr_t);
		if (fmt[1] == 'S')
			put_field(sink, &spec, "", 0, symbol_text(text, number));
		else if (fmt[1] == 'B')
			put_field(sink, &spec, "", 0, symbol_call_text(text, number));
		else
			put_number(sink, &spec, "0x", number, 16);
		return fmt + (fmt[1] == 'S' || fmt[1] == 'B');
	default: /* as it stands; %% gives one */
		put(sink, '%', 1);
		return *fmt == '%' ? fmt : start;
	}
}

static void format(struct sink *sink, const char *fmt, va_list args)
{
	va_list rest; /* only of a va_list of our own can we pass on a pointer */

	va_copy(rest, args);
	for (; *fmt; fmt++)
		if (*fmt == '%')
			fmt = convert(sink, fmt, &rest);
		else
			put(sink, *fmt, 1);
	va_end(rest);
}

int vsnprintf(char *out, size_t bytes, const char *fmt, va_list args)
{
	struct sink sink = { .buf = out, .room = bytes ? bytes - 1 : 0 };

	format(&sink, fmt, args);
	if (bytes)
		out[sink.used] = '\0';
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

/* Terminals want CR LF where everything above here says LF. */
static void to_console(struct sink *sink)
{
	size_t start = 0;

	for (size_t i = 0; i < sink->used; i++) {
		mid_line = sink->buf[i] != '\n';
		if (mid_line)
			continue;
		serial_write(COM1, sink->buf + start, i - start);
		serial_write(COM1, "\r\n", 2);
		start = i + 1;
	}
	serial_write(COM1, sink->buf + start, sink->used - start);
	sink->used = 0;
}

static void console(bool own_line, const char *fmt, va_list args)
{
	char buf[128];
	struct sink sink = { .buf = buf, .room = sizeof(buf), .full = to_console };
	bool locked = false;
	irqflags_t flags;

	while (!locked && !spin_is_mine(&console_lock) && !panicking())
		locked = spin_trylock(&console_lock, &flags);
	put(&sink, '\n', own_line && mid_line);
	format(&sink, fmt, args);
	put(&sink, '\n', own_line);
	to_console(&sink);
	if (locked)
		spin_unlock(&console_lock, flags);
}

void vprintk(const char *fmt, va_list args)
{
	console(false, fmt, args);
}

void printk(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	console(false, fmt, args);
	va_end(args);
}

void printk_line(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	console(true, fmt, args);
	va_end(args);
}

/* Read digits from *text on; false if there are none or too many. */
static bool parse_digits(const char **text, unsigned base, u64 *value)
{
	const char *digits = "0123456789abcdef", *digit, *start = *text;

	for (*value = 0; **text; ++*text) {
		digit = strchr(digits, **text >= 'A' ? **text | 32 : **text);
		if (!digit || digit >= digits + base)
			break;
		if (__builtin_mul_overflow(*value, base, value) ||
		    __builtin_add_overflow(*value, digit - digits, value))
			return false;
	}
	return *text != start;
}

static bool has_0x(const char *text)
{
	return text[0] == '0' && (text[1] | 32) == 'x';
}

bool parse_hex(const char *text, u64 *value)
{
	text += has_0x(text) ? 2 : 0;
	return parse_digits(&text, 16, value) && !*text;
}

bool parse_size(const char *text, u64 *bytes)
{
	const char *units = "kmgtpe", *unit;

	if (has_0x(text))
		return parse_hex(text, bytes);
	if (!parse_digits(&text, 10, bytes))
		return false;
	if (!*text)
		return true;
	unit = strchr(units, *text | 32);
	return unit && !text[1] &&
	       !__builtin_mul_overflow(*bytes, KiB << 10 * (unit - units), bytes);
}

const char *size_text(char out[SIZE_TEXT], u64 bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned unit = bytes ? (63 - __builtin_clzl(bytes)) / 10 : 0;
	u64 whole = bytes >> 10 * unit;

	if (whole << 10 * unit == bytes || whole >= 100)
		snprintf(out, SIZE_TEXT, "%lu %s", whole, units[unit]);
	else
		snprintf(out, SIZE_TEXT, "%lu.%lu %s", whole,
			 (bytes >> 10 * (unit - 1)) % KiB * 10 / KiB, units[unit]);
	return out;
}
