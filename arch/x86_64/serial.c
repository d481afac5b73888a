/*
 * serial.c - two 16550 ports: COM1 for people, COM2 for records.
 *
 * Output waits for the transmitter (THRE), then fills its FIFO of 16 bytes at once. A port may be
 * dead, or whoever reads at its other end may have stopped: after some ten seconds what is written
 * is lost, until a single poll finds the port ready again. A port whose scratch register does not
 * remember is not there at all.
 *
 * Input is polled, but between polls the CPU may sleep: interrupts are off all through the kernel,
 * except in serial_wait(), where `sti; hlt` sleeps until COM1 raises its line, IRQ 4 of the old
 * 8259 interrupt controller (PIC). Whether that line reaches this CPU is tried at the start, with
 * an interrupt that only says "the transmitter is empty". If none comes, we wait with PAUSE
 * instead. Texas Instruments TL16C550D; Intel 8259A.
 */
#include <arch/cpu.h>
#include <asm/x86.h>

enum { DATA, IER, FCR, LCR, MCR, LSR, SCRATCH = 7 }; /* registers: offsets to the port's base */
enum { IER_DATA = 1, IER_THRE = 2 };
enum { LSR_DATA = 0x01, LSR_THRE = 0x20, LSR_TEMT = 0x40 }; /* has a byte; FIFO empty; all sent */
#define FIFO_BYTES 16
#define MAX_WAIT (1ul << 35) /* cycles: ten seconds or so */

enum { PIC1 = 0x20, PIC2 = 0xa0, PIC_EOI = 0x20 }; /* command ports; data is the next */

struct setting {
	u8 reg, value;
};

static const u16 base[NR_COM] = { 0x3f8, 0x2f8 };
static bool present[NR_COM], dead[NR_COM];
static volatile unsigned irqs; /* that came from COM1 */
static bool can_sleep;

static void set(u16 port, const struct setting *s, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		outb(port + s[i].reg, s[i].value);
}

void serial_init(void)
{
	static const struct setting uart[] = {
		{ IER, 0 },    { LCR, 0x80 }, { DATA, 1 },
		{ IER, 0 },				     /* divisor 1: 115200 baud */
		{ LCR, 0x03 }, { FCR, 0x07 }, { MCR, 0x0b }, /* 8N1; FIFOs; DTR, RTS, interrupts */
	};

	for (int i = 0; i < NR_COM; i++) {
		outb(base[i] + SCRATCH, 0x5a);
		present[i] = inb(base[i] + SCRATCH) == 0x5a;
		if (present[i])
			set(base[i], uart, ARRAY_SIZE(uart));
	}
}

/* The PICs' interrupts go to vectors VEC_IRQ and up; all but COM1's are masked. */
void serial_irq_init(void)
{
	static const struct setting pics[] = {
		{ PIC1, 0x11 },	       { PIC2, 0x11 }, /* four words follow, the last after these */
		{ PIC1 + 1, VEC_IRQ }, { PIC2 + 1, VEC_IRQ + 8 },
		{ PIC1 + 1, 1 << 2 },  { PIC2 + 1, 2 }, /* the second hangs at the first's line 2 */
		{ PIC1 + 1, 1 },       { PIC2 + 1, 1 }, /* 8086 mode */
		{ PIC1 + 1, 0xef },    { PIC2 + 1, 0xff }, /* the masks */
	};

	set(0, pics, ARRAY_SIZE(pics));
	if (!present[COM1])
		return;
	outb(base[COM1] + IER, IER_THRE);
	asm volatile("sti" ::: "memory");
	for (unsigned i = 0; i < 100000 && !irqs; i++)
		cpu_relax();
	asm volatile("cli" ::: "memory");
	can_sleep = irqs;
	outb(base[COM1] + IER, IER_DATA);
}

void serial_irq(void)
{
	irqs++;
	inb(base[COM1] + FCR); /* reading tells the port that it was heard */
	outb(PIC1, PIC_EOI);
}

bool serial_present(enum serial_port port)
{
	return present[port];
}

/* Until all these bits of the line status are set. A dead port gets one chance each time. */
static bool wait_for(enum serial_port port, u8 bits)
{
	u64 start = cycles();

	while ((inb(base[port] + LSR) & bits) != bits) {
		dead[port] |= cycles() - start > MAX_WAIT;
		if (dead[port])
			return false;
	}
	dead[port] = false;
	return true;
}

void serial_write(enum serial_port port, const char *text, size_t bytes)
{
	for (size_t i = 0; present[port] && i < bytes; i++) {
		if (i % FIFO_BYTES == 0 && !wait_for(port, LSR_THRE))
			return;
		outb(base[port] + DATA, text[i]);
	}
}

int serial_read(enum serial_port port)
{
	if (!present[port] || !(inb(base[port] + LSR) & LSR_DATA))
		return -1;
	return inb(base[port] + DATA);
}

void serial_wait(void)
{
	if (!can_sleep)
		cpu_relax();
	else if (!(inb(base[COM1] + LSR) & LSR_DATA)) /* sti takes effect one instruction later */
		asm volatile("sti; hlt; cli" ::: "memory");
}

void serial_drain(void)
{
	for (int i = 0; i < NR_COM; i++)
		if (present[i])
			wait_for(i, LSR_TEMT);
}
