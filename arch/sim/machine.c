/*
 * machine.c - the rest of the simulated machine: serial ports that are files, and an end.
 *
 * COM1 is standard output; COM2 a file, if the test runner was given one. What a person would read
 * on a real machine's console is therefore what the program prints. Code addresses get names only
 * when the machine is dying: the sanitizer's symbolizer is slow, and a test that expects a panic
 * need not wait for it.
 */
#include <sanitizer/common_interface_defs.h>
#include <stdio.h>
#include <stdlib.h>

#include <arch/cpu.h>
#include <arch/machine.h>
#include <kernel/panic.h>
#include <kernel/printk.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>

#include "sim.h"

static FILE *com2;

bool sim_records_to(const char *path)
{
	com2 = fopen(path, "w");
	return com2;
}

static FILE *port_file(enum serial_port port)
{
	return port == COM1 ? stdout : com2;
}

int (*sim_keyboard)(void);
void (*sim_screen)(char c);

/* The console sends CR LF, as terminals want it; a file wants LF. */
bool serial_write(enum serial_port port, const char *text, size_t bytes)
{
	for (; bytes && port_file(port); text++, bytes--)
		if (port == COM1 && sim_screen)
			sim_screen(*text);
		else if (*text != '\r')
			fputc(*text, port_file(port));
	return port_file(port);
}

u8 serial_read(void)
{
	return sim_keyboard();
}

void serial_drain(void)
{
	fflush(NULL);
}

void machine_exit(int status)
{
	serial_drain();
	exit(status);
}

void machine_halt(void)
{
	machine_exit(1);
}

void machine_reboot(void)
{
	machine_exit(1);
}

const char *cpu_features_text(void)
{
	return "simulated";
}

/* One CPU: nobody to call, to start or to stop. */

u32 sim_interrupts;

u32 nr_cpus(void)
{
	return 1;
}

u64 nr_ipis(void)
{
	return 0;
}

void on_other_cpus(void (*fn)(void *), void *arg)
{
	(void)fn;
	(void)arg;
	BUG_ON(in_interrupt());
	ASSERT(!locks_held());
}

void cpu_serve(void)
{
}

void self_interrupt(void (*fn)(void *), void *arg)
{
	irqflags_t flags = irq_save();

	sim_interrupts++;
	fn(arg);
	sim_interrupts--;
	irq_restore(flags);
}

void cpu_wake(u32 cpu)
{
	(void)cpu;
}

void cpu_sleep(void)
{
}

void nmi_other_cpus(void)
{
}

void report_trap(void)
{
}

/* Up the chain of frame pointers, as long as it rises within reach of a stack. */
unsigned backtrace(vaddr_t *pcs, unsigned max, vaddr_t fp)
{
	const vaddr_t *frame = fp ? (const vaddr_t *)fp : __builtin_frame_address(0);
	unsigned nr = 0;

	while (nr < max && frame[1]) {
		const vaddr_t *outer = (const vaddr_t *)frame[0];

		pcs[nr++] = frame[1];
		if (outer <= frame || outer - frame > 65536)
			break;
		frame = outer;
	}
	return nr;
}

/* Code addresses as offsets, for addr2line; a dying machine takes the time to name them. */
const char *symbol_text(char out[SYMBOL_TEXT], const void *code)
{
	if (panicking())
		__sanitizer_symbolize_pc((void *)code, "%f", out, SYMBOL_TEXT);
	else
		snprintf(out, SYMBOL_TEXT, "image+0x%lx", (vaddr_t)code - address_map.image);
	return out;
}

/* The only one of kernel/string.h that a C library need not have. */
size_t strlcpy(char *dst, const char *src, size_t bytes)
{
	return snprintf(dst, bytes, "%s", src);
}
