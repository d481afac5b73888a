/*
 * gcov.c - the kernel's coverage counters, on their way out. Only in the build that tests/coverage/run
 * makes, where the linker puts this in front of machine_exit().
 *
 * The compiler counts each branch and leaves a struct gcov_info for each file; libgcov knows how to
 * make of it what the gcov program reads (a .gcda file). That goes to COM1 in hexadecimal:
 *
 *	gcda ./build/obj/tessera-check/mm/vmalloc.c 0b1c2d…
 *	gcda end
 */
#include <arch/machine.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/string.h>

struct gcov_info;
void __gcov_info_to_gcda(const struct gcov_info *info, void (*name)(const char *, void *),
			 void (*dump)(const void *, unsigned, void *),
			 void *(*allocate)(unsigned, void *), void *arg);
extern const struct gcov_info *const __start_gcov_info[], *const __stop_gcov_info[];
_Noreturn void __real_machine_exit(int status);
_Noreturn void __wrap_machine_exit(int status);

/* What libgcov and the compiler name, but nothing here comes to use. */
void __gcov_merge_add(void);
void __gcov_merge_add(void)
{
}

void *mmap(void);
void *mmap(void)
{
	panic("gcov: no memory for it here");
}

_Noreturn void abort(void);
_Noreturn void abort(void)
{
	panic("gcov: it aborts");
}

static void *allocate(unsigned bytes, void *unused)
{
	(void)unused;
	panic("gcov: no %u bytes for it here", bytes);
}

static void name(const char *file, void *unused)
{
	(void)unused;
	serial_write(COM1, "\r\ngcda ", 7);
	serial_write(COM1, file, strlen(file));
	serial_write(COM1, " ", 1);
}

static void dump(const void *data, unsigned bytes, void *unused)
{
	static const char digits[] = "0123456789abcdef";

	(void)unused;
	for (const u8 *byte = data; bytes--; byte++) {
		serial_write(COM1, &digits[*byte >> 4], 1);
		serial_write(COM1, &digits[*byte & 15], 1);
	}
}

void __wrap_machine_exit(int status)
{
	for (const struct gcov_info *const *info = __start_gcov_info; info < __stop_gcov_info;
	     info++)
		__gcov_info_to_gcda(*info, name, dump, allocate, NULL);
	serial_write(COM1, "\r\ngcda end\r\n", 12);
	__real_machine_exit(status);
}
