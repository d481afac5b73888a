/*
 * entry.S - from the loader's 32-bit world to C in 64 bits.
 *
 * GRUB (Multiboot2) and qemu -kernel (PVH) both leave the CPU in 32-bit protected mode, paging off,
 * segments flat. Code runs IMAGE_BASE below its link addresses, hence PHYS(). Once CPUID
 * grants all that we need, paging comes on, and with it long mode. The tables map the first 4 GiB
 * at 0, whence the next instruction is fetched; in the direct map; and where the image was linked.
 *	PML4[0], [273], [511] ---> PDPT[0..3] ---> four PDs of 512 pages of 2 MiB
 *	                           PDPT[510] ----> the first of these PDs
 * A CPU changes the number of levels only with paging off, so enter_la57() goes back to 32 bits.
 * Entries 0, 273 (again the direct map's) and 511 of the new root all lead to the old PML4.
 * Each other CPU starts in a copy of the trampoline below 1 MiB, in 16 bits, takes the invitation
 * that bears its APIC id (it is too late if there is none: then it halts), and goes the same way.
 * Intel SDM Vol. 3A, 4.1.2, 9.4, 10.8.5; Multiboot2 3.1, 3.3.
 */
#define IMAGE_BASE 0xffffffff80000000
#define PHYS(symbol) ((symbol) - IMAGE_BASE)
#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define CODE32_CS 0x18

	.section .multiboot, "a"
	.balign 8
header:	.long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
	.long 6, 8, 0, 8 /* two tags: modules on page boundaries; the end */
header_end:

	.section .note.Xen, "a"
	.balign 4
	.long 4, 8, 18 /* lengths of name and value, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad PHYS(_start)

	.macro needs leaf, bit, what /* the bit of %edx that CPUID gives for this leaf */
	movl $PHYS(1f), %esi
	movl $\leaf & 0x80000000, %eax /* what is the greatest leaf of this kind? */
	cpuid
	cmpl $\leaf, %eax
	jb refuse
	movl $\leaf, %eax
	cpuid
	testl $1 << \bit, %edx
	jz refuse
	.pushsection .boot, 1
1:	.asciz "\r\nTessera needs \what; this CPU has none.\r\nTry qemu -cpu max.\r\n"
	.popsection
	.endm

	.section .boot, "ax"
	.code32
	.global _start
_start:
	cli
	cld
	movl %eax, %edi /* these two are kept from CPUID */
	movl %ebx, %ebp
	needs 0x80000001, 29, "a 64-bit CPU (long mode)"
	needs 0x80000001, 20, "no-execute pages (NX)"
	needs 1, 4, "a time-stamp counter (TSC)"
	needs 1, 13, "global pages (PGE)"
	.pushsection .boot, 1
2:	.asciz "\r\nTessera needs more RAM: firmware wrote into its variables, or they lie in none.\r\n"
	.popsection
	movl $PHYS(2b), %esi
	movl %edi, %edx
	xorl %eax, %eax /* all variables in .bss must be 0 but the last, which we make 1, then 0 again */
	incl PHYS(__bss_end) - 4
	movl $PHYS(__bss_start), %edi
	movl $PHYS(__bss_end), %ecx
	subl %edi, %ecx
	shrl $2, %ecx
	repe scasl
	testl %ecx, %ecx
	jnz refuse
	decl PHYS(__bss_end) - 4
	jnz refuse
	movl %edx, %edi

paging_on:
	movl PHYS(early_cr4), %eax
	movl %eax, %cr4
	movl PHYS(continue_at + 16), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx /* EFER */
	rdmsr
	orl $0x900, %eax /* LME, NXE */
	wrmsr
	movl %cr0, %eax
	orl $0x80010001, %eax /* PG, WP, PE */
	movl %eax, %cr0
	lgdt PHYS(gdt_pointer)
	ljmp $KERNEL_CS, $PHYS(1f)
	.code64
1:	movq $2f, %rax /* from 0 up to where we were linked */
	jmp *%rax
2:	movl $KERNEL_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movq continue_at + 24, %rax
	movq %rax, %cr3
	movq continue_at + 8, %rsp
	movl %ebp, %esi
	xorl %ebp, %ebp /* backtraces end here */
	pushq $0
	jmp *continue_at

	.global enter_la57 /* _Noreturn void enter_la57(void (*then)(void)), on an empty stack */
enter_la57:
	movq %rdi, continue_at
	movq $PHYS(early_root5), continue_at + 16
	movq $PHYS(early_root5), continue_at + 24
	orl $0x1000, early_cr4 /* LA57 */
	pushq $CODE32_CS
	pushq $PHYS(1f)
	lretq
	.code32
1:	movl %cr0, %eax
	andl $0x7fffffff, %eax /* PG */
	movl %eax, %cr0
	jmp paging_on

	.code16
	.global trampoline, trampoline_end
trampoline:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl 1f - trampoline
	movl $1, %eax /* PE; and caches are on from here */
	movl %eax, %cr0
	ljmpl $CODE32_CS, $PHYS(trampoline_end)
1:	.short 4 * 8 - 1
	.long PHYS(boot_gdt)
trampoline_end:
	.code32
	movl $KERNEL_DS, %eax
	movl %eax, %ds
	movl $1, %eax
	cpuid
	shrl $24, %ebx
	leal 0x100(%ebx), %eax
	xorl %ecx, %ecx
	lock cmpxchgl %ecx, PHYS(invited)
	je paging_on
1:	hlt
	jmp 1b
refuse: /* say %esi on COM1 and stop; QEMU's debug port, if there is one, gives exit status 35 */
	movw $0x3f8 + 3, %dx /* LCR: firmware may have left 5 bits a character */
	movb $3, %al
	outb %al, %dx
	movl $1 << 20, %ecx /* patience with the port: for all of the text */
	movw $0x3f8 + 5, %dx
1:	inb %dx, %al
	testb $0x40, %al /* TEMT: everything sent? */
	loopz 1b
	cmpb $0, (%esi)
	je 1f
	movw $0x3f8, %dx
	outsb
	jmp refuse
1:	movb $0x11, %al
	outb %al, $0xf4
1:	hlt
	jmp 1b

	.section .rodata
	.balign 8
	.global boot_gdt
boot_gdt: /* as numbered above; also the beginning of every CPU's own: see cpu.c */
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
gdt_pointer: .short 4 * 8 - 1
	.long PHYS(boot_gdt)

	.data
	.balign 8
	.global continue_at, invited
continue_at: /* code, stack, root while paging comes on, root then; see smp.c. The stack: mmu.c */
	.quad boot_main, stacks + 5 * 4096, PHYS(early_root), PHYS(early_root)
early_cr4: .long 0xa0 /* PAE, PGE */
invited: .long 0 /* an APIC id + 0x100 */
	.balign 4096
	.macro root next /* entries 0, 273 and 511; 3: present, writable */
	.irp gap, 272, 237, 0
	.quad PHYS(\next) + 3
	.fill \gap, 8, 0
	.endr
	.endm
early_root5: root early_root
early_root: root pdpt
pdpt:	.quad PHYS(pds) + 0x0003, PHYS(pds) + 0x1003, PHYS(pds) + 0x2003, PHYS(pds) + 0x3003
	.fill 506, 8, 0
	.quad PHYS(pds) + 3, 0
pds:	.rept 4 * 512
	.quad (. - pds) << 18 | 0x83 /* a leaf: the next 2 MiB with every 8 bytes */
	.endr
