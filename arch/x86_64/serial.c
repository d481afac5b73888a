/*
 * serial.c - two 16550 ports: COM1 for people, COM2 for records.
 *
 * Output waits for the transmitter, then fills its FIFO of 16 bytes at once. A port may be dead, or
 * its reader may have stopped: after some ten seconds what is written is lost, until a single poll
 * finds the port ready again. A port whose scratch register does not remember is not there at all.
 *
 * Input is polled. Between, `sti; hlt` sleeps until COM1 raises its line, IRQ 4 of the old PICs,
 * which await no answer (AEOI). Does it reach us? The first prompt, once sent, shows; before we
 * only poll. TI TL16C550D; Intel 8259A.
 */
#include <asm/x86.h>

enum { DATA, IER, IIR, FCR = IIR, LCR, MCR, LSR, SCRATCH = 7 }; /* registers, from the base */
enum { LSR_DATA = 0x01, LSR_THRE = 0x20, LSR_TEMT = 0x40 }; /* has a byte; FIFO empty; all sent */
#define PATIENCE (1ul << 35)				    /* cycles: ten seconds or so */

static const u16 base[NR_COM] = { 0x3f8, 0x2f8 };
static bool present[NR_COM];
static u64 patience[NR_COM] = { PATIENCE, PATIENCE };
volatile bool serial_irq_came;

void serial_init(void)
{
	static const u8 uart[][2] = {
		{ LCR, 0x80 }, { DATA, 1 },   { IER, 0 },    { LCR, 0x03 }, /* 115200 baud, 8N1 */
		{ FCR, 0x07 }, { MCR, 0x0b }, { IER, 0x03 }, /* FIFOs; interrupts: in, out */
	};
	/* Both PICs: begin; first vector; how they are joined; 8086, AEOI; masks: COM1 alone. */
	static const u8 pics[][2] = {
		{ 0x20, 0x11 }, { 0x21, VEC_IRQ },     { 0x21, 4 }, { 0x21, 3 }, { 0x21, 0xef },
		{ 0xa0, 0x11 }, { 0xa1, VEC_IRQ + 8 }, { 0xa1, 2 }, { 0xa1, 3 }, { 0xa1, 0xff },
	};

	for (int port = 0; port < NR_COM; port++) {
		outb(base[port] + SCRATCH, 0x5a);
		present[port] = inb(base[port] + SCRATCH) == 0x5a;
		for (unsigned i = 0; i < ARRAY_SIZE(uart); i++)
			outb(base[port] + uart[i][0], uart[i][1]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(pics); i++)
		outb(pics[i][0], pics[i][1]);
}

/* Until all these bits of the line status are set. A dead port gets one chance each time. */
static bool wait_for(enum serial_port port, u8 bits)
{
	u64 start = cycles();
	bool ready;

	do
		ready = (inb(base[port] + LSR) & bits) == bits;
	while (!ready && cycles() - start < patience[port]);
	patience[port] = ready ? PATIENCE : 0;
	return ready;
}

bool serial_write(enum serial_port port, const char *text, size_t bytes)
{
	for (size_t i = 0; present[port] && i < bytes; i++) {
		if (i % 16 == 0 && !wait_for(port, LSR_THRE))
			break;
		outb(base[port] + DATA, text[i]);
	}
	return present[port];
}

/* The PIC notes when the line rises, so COM1 must lower it before we sleep: hence IIR is read. */
u8 serial_read(void)
{
	while (!present[COM1] || !(inb(base[COM1] + LSR) & LSR_DATA)) {
		irqflags_t flags = irq_save();

		if (!serial_irq_came) /* sti takes effect one instruction later */
			asm volatile("sti; nop; cli" ::: "memory");
		inb(base[COM1] + IIR);
		if (serial_irq_came && !(inb(base[COM1] + LSR) & LSR_DATA))
			cpu_sleep();
		irq_restore(flags);
	}
	return inb(base[COM1] + DATA);
}

void serial_drain(void)
{
	for (int port = 0; port < NR_COM; port++)
		if (present[port])
			wait_for(port, LSR_TEMT);
}
