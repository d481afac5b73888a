/*
 * ubsan.c - what the compiler calls where C promises nothing: `make UBSAN=1`.
 *
 * With -fsanitize=undefined each operation whose result C leaves undefined is checked first, and a
 * check that fails calls one of the handlers here. It is given a constant that tells where in the
 * source that is and which types are meant, and the values. We say all of it and panic, since a test
 * must see it. The records' layouts are the compilers' (LLVM, compiler-rt/lib/ubsan); gcc 12 and
 * clang 14 agree. Handlers that only floating point, C++ or other options need are not here: then the
 * link fails, and says so.
 */
#include <kernel/panic.h>
#include <kernel/printk.h>

#include "sanitize.h"

struct location {
	const char *file;
	u32 line, column;
};

struct type {
	u16 kind; /* 0: integer */
	u16 info; /* of one: bit 0: signed; above: the logarithm of its bits */
	char name[];
};

/* Each record begins with a location; these are all that we read of what may follow. */
struct typed {
	struct location at;
	const struct type *type, *second;
};

struct mismatch {
	struct location at;
	const struct type *type;
	u8 log_align, access;
};

struct argument {
	struct location at, attribute;
	int number;
};

struct builtin {
	struct location at;
	u8 kind;
};

struct assumption {
	struct location at, attribute;
	const struct type *type;
};

static _Noreturn void printf_like(3, 4)
	report(const struct location *at, const char *kind, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	panic("BUG: UBSan: %s at %s:%u:%u\n  %s", kind, at->file, at->line, at->column, text);
}

/* A value of this type: itself if it fits into 64 bits, otherwise where it lies. */
#define VALUE_TEXT 48
#define VALUE(type, value) value_text((char[VALUE_TEXT]){ 0 }, type, value)
static const char *value_text(char out[VALUE_TEXT], const struct type *type, u64 value)
{
	unsigned bits = 1u << (type->info >> 1);
	const u64 *wide = (const u64 *)value;

	if (type->kind)
		snprintf(out, VALUE_TEXT, "(no integer)");
	else if (bits > 64)
		snprintf(out, VALUE_TEXT, "0x%016lx%016lx", wide[1], wide[0]);
	else if (type->info & 1)
		snprintf(out, VALUE_TEXT, "%ld", (s64)(value << (64 - bits)) >> (64 - bits));
	else
		snprintf(out, VALUE_TEXT, "%lu", value);
	return out;
}

static bool is_negative(const struct type *type, u64 value)
{
	unsigned bits = 1u << (type->info >> 1);

	return type->info & 1 && bits <= 64 && value >> (bits - 1) & 1;
}

/* Arithmetic */

static _Noreturn void overflow(const struct typed *data, u64 left, char operator, u64 right)
{
	report(&data->at, data->type->info & 1 ? "signed-integer-overflow" : "integer-overflow",
	       "%s %c %s cannot be represented in type %s", VALUE(data->type, left), operator,
	       VALUE(data->type, right), data->type->name);
}

void __ubsan_handle_add_overflow(struct typed *data, u64 left, u64 right)
{
	overflow(data, left, '+', right);
}

void __ubsan_handle_sub_overflow(struct typed *data, u64 left, u64 right)
{
	overflow(data, left, '-', right);
}

void __ubsan_handle_mul_overflow(struct typed *data, u64 left, u64 right)
{
	overflow(data, left, '*', right);
}

void __ubsan_handle_negate_overflow(struct typed *data, u64 value)
{
	report(&data->at, "negate-overflow", "the negative of %s cannot be represented in type %s",
	       VALUE(data->type, value), data->type->name);
}

void __ubsan_handle_divrem_overflow(struct typed *data, u64 left, u64 right)
{
	report(&data->at, "divrem-overflow", "%s / %s, or the rest, is nothing of type %s",
	       VALUE(data->type, left), VALUE(data->type, right), data->type->name);
}

void __ubsan_handle_shift_out_of_bounds(struct typed *data, u64 left, u64 right)
{
	const char *why = is_negative(data->second, right) ? "a negative number of bits" :
			  is_negative(data->type, left)	   ? "a negative value" :
							     "too far, or out of the type";

	report(&data->at, "shift-out-of-bounds", "%s of type %s is shifted by %s: %s",
	       VALUE(data->type, left), data->type->name, VALUE(data->second, right), why);
}

/* Memory */

void __ubsan_handle_type_mismatch_v1(struct mismatch *data, u64 p)
{
	static const char *const accesses[] = { "load of", "store to", "reference to",
						"member access within" };
	const char *access = data->access < ARRAY_SIZE(accesses) ? accesses[data->access] :
								   "use of";
	u64 align = 1ul << data->log_align;

	if (!p)
		report(&data->at, "null-ptr-deref", "%s a null pointer of type %s", access,
		       data->type->name);
	if (!IS_ALIGNED(p, align))
		report(&data->at, "misaligned-access",
		       "%s 0x%lx of type %s, which needs an alignment of %lu bytes", access, p,
		       data->type->name, align);
	report(&data->at, "object-size-mismatch", "%s 0x%lx, too little room for type %s", access,
	       p, data->type->name);
}

void __ubsan_handle_out_of_bounds(struct typed *data, u64 index)
{
	report(&data->at, "array-index-out-of-bounds", "index %s is out of range for type %s",
	       VALUE(data->second, index), data->type->name);
}

void __ubsan_handle_pointer_overflow(struct location *at, u64 base, u64 result)
{
	report(at, "pointer-overflow", "the pointer 0x%lx became 0x%lx", base, result);
}

void __ubsan_handle_alignment_assumption(struct assumption *data, u64 p, u64 align, u64 offset)
{
	report(&data->at, "alignment-assumption",
	       "0x%lx (offset %lu) of type %s was said to be aligned to %lu bytes", p, offset,
	       data->type->name, align);
}

void __ubsan_handle_vla_bound_not_positive(struct typed *data, u64 bound)
{
	report(&data->at, "vla-bound-not-positive", "an array of %s elements",
	       VALUE(data->type, bound));
}

/* Values and promises */

void __ubsan_handle_load_invalid_value(struct typed *data, u64 value)
{
	report(&data->at, "invalid-load", "%s is no value of type %s", VALUE(data->type, value),
	       data->type->name);
}

void __ubsan_handle_nonnull_arg(struct argument *data)
{
	report(&data->at, "nonnull-argument", "argument %d was promised not to be NULL",
	       data->number);
}

void __ubsan_handle_nonnull_return_v1(struct location *attribute, struct location *at)
{
	(void)attribute; /* gcc leaves it empty */
	report(at, "nonnull-return", "NULL is returned, against the function's promise");
}

void __ubsan_handle_invalid_builtin(struct builtin *data)
{
	report(&data->at, "invalid-builtin", "%s of 0", data->kind ? "clz()" : "ctz()");
}

void __ubsan_handle_builtin_unreachable(struct location *at)
{
	report(at, "unreachable-code", "a place was reached that was promised not to be");
}

void __ubsan_handle_missing_return(struct location *at)
{
	report(at, "missing-return", "the end of a function was reached that returns a value");
}
