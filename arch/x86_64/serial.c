/*
 * serial.c - two 16550 ports: COM1 for people, COM2 for records.
 *
 * Output waits for the transmitter (THRE in the line status), then fills its FIFO of 16 bytes at once.
 * The wait is counted in polls, since a port may be dead, or its reader may have stopped reading: after
 * some ten seconds the port is taken for dead and what is written to it is lost, until one poll finds it
 * ready again. A port that does not remember what is written to its scratch register is not there.
 *
 * Input is by polling, but between polls the CPU may sleep: interrupts are off all through the
 * kernel, except in serial_wait(), where `sti; hlt` sleeps until COM1 raises its line, IRQ 4 of the
 * old 8259 interrupt controller. Whether that line really reaches this CPU is tried at the start, by
 * asking for an interrupt that says no more than "the transmitter is empty". If none comes (there
 * is no 8259 or it leads nowhere), we wait with PAUSE instead. TL16C550D data sheet; Intel 8259A.
 */
#include <arch/cpu.h>
#include <asm/x86.h>

enum { DATA, IER, FCR, LCR, MCR, LSR, SCRATCH = 7 }; /* registers: offsets to the port's base */
#define LSR_DATA 0x01				     /* a byte has come */
#define LSR_THRE 0x20				     /* the FIFO is empty */
#define LSR_TEMT 0x40				     /* and the last bit is out */
#define FIFO_BYTES 16
#define MAX_POLLS (1u << 25)

#define PIC1 0x20 /* command port; data is the next */
#define PIC2 0xa0
#define PIC_EOI 0x20
#define COM1_IRQ 4

static const u16 base[NR_COM] = { 0x3f8, 0x2f8 };
static bool present[NR_COM], dead[NR_COM];
static volatile unsigned irqs; /* that came from COM1 */
static bool can_sleep;

bool serial_present(enum serial_port port)
{
	return present[port];
}

static bool detect(u16 port)
{
	outb(port + SCRATCH, 0x5a);
	if (inb(port + SCRATCH) != 0x5a)
		return false;
	outb(port + SCRATCH, 0xa5);
	return inb(port + SCRATCH) == 0xa5;
}

static void setup(u16 port)
{
	outb(port + IER, 0);
	outb(port + LCR, 0x80); /* the next two are the divisor: 115200 baud */
	outb(port + DATA, 1);
	outb(port + IER, 0);
	outb(port + LCR, 0x03); /* 8 bits, no parity, 1 stop bit */
	outb(port + FCR, 0x07); /* FIFOs on and empty, an interrupt for each byte */
	outb(port + MCR, 0x0b); /* DTR, RTS, and OUT2, which lets interrupts out */
}

void serial_init(void)
{
	for (int i = 0; i < NR_COM; i++) {
		present[i] = detect(base[i]);
		if (present[i])
			setup(base[i]);
	}
}

/* The PIC's first interrupts go to vectors VEC_IRQ and up; all but COM1's are masked. */
static void pic_init(void)
{
	outb(PIC1, 0x11); /* ICW1: edges, two PICs, ICW4 follows */
	outb(PIC2, 0x11);
	outb(PIC1 + 1, VEC_IRQ);
	outb(PIC2 + 1, VEC_IRQ + 8);
	outb(PIC1 + 1, 1 << 2); /* ICW3: the second one hangs at line 2 */
	outb(PIC2 + 1, 2);
	outb(PIC1 + 1, 1); /* ICW4: 8086 mode */
	outb(PIC2 + 1, 1);
	outb(PIC1 + 1, (u8)~(1 << COM1_IRQ));
	outb(PIC2 + 1, 0xff);
}

void serial_irq_init(void)
{
	pic_init();
	if (!present[COM1])
		return;
	outb(base[COM1] + IER, 2); /* "the transmitter is empty": at once */
	asm volatile("sti" ::: "memory");
	for (unsigned i = 0; i < 100000 && !irqs; i++)
		cpu_relax();
	asm volatile("cli" ::: "memory");
	can_sleep = irqs;
	outb(base[COM1] + IER, 1); /* from now on: "a byte has come" */
}

void serial_irq(void)
{
	irqs++;
	inb(base[COM1] + FCR); /* reading tells the port that it was heard */
	outb(PIC1, PIC_EOI);
}

static bool wait_for(enum serial_port port, u8 bits)
{
	unsigned polls = dead[port] ? 1 : MAX_POLLS;

	while (polls-- > 0)
		if ((inb(base[port] + LSR) & bits) == bits)
			return !(dead[port] = false);
	dead[port] = true;
	return false;
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
	if (present[COM1] && can_sleep && inb(base[COM1] + LSR) & LSR_DATA)
		return;
	if (can_sleep)
		asm volatile("sti; hlt; cli" ::: "memory"); /* sti takes effect after hlt began */
	else
		cpu_relax();
}

void serial_drain(void)
{
	for (int i = 0; i < NR_COM; i++)
		if (present[i])
			wait_for(i, LSR_TEMT);
}
