/*
 * entry.S - from the loader's 32-bit world to C in 64 bits.
 *
 * GRUB (Multiboot2) and qemu -kernel (PVH) both leave the CPU in 32-bit protected mode, paging off,
 * segments flat. Code runs where it was loaded, IMAGE_BASE below the addresses it was linked for,
 * hence PHYS(). First CPUID is asked for all that we need, and what is missing is said on COM1.
 * Then paging comes on, and with it long mode, with tables that map the first 4 GiB three times: at
 * 0, since the next instruction is fetched from there; at the direct map's address; as the image.
 *
 *	PML4[0]   ---+
 *	PML4[273] ---+--> low PDPT [0..3] ----> four PDs of 512 pages of 2 MiB
 *	PML4[511] ------> high PDPT [510] ----> the first of these PDs
 *
 * boot_main() may then ask for five levels. The CPU refuses to change their number while paging is
 * on, so enter_la57() goes back to 32 bits and turns paging off and on again. The new root's
 * entries 0, 273 and 511 all lead to the old PML4: 273 happens to be where the direct map of five
 * levels begins, too. Intel SDM Vol. 3A, 4.1.2, 9.8.5; Multiboot2 3.1, 3.3.
 */
#define IMAGE_BASE 0xffffffff80000000
#define PHYS(symbol) ((symbol) - IMAGE_BASE)
#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define CODE32_CS 0x18
#define COM1 0x3f8

	.section .multiboot, "a"
	.balign 8
header:	.long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
	.short 6, 0 /* modules on page boundaries */
	.long 8
	.short 0, 0 /* the end */
	.long 8
header_end:

	.section .note.Xen, "a"
	.balign 4
	.long 4, 8, 18 /* lengths of name and value, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad PHYS(pvh_start)

	.section .boot, "ax"
	.code32
pvh_start:
	movl $0x336ec578, %eax /* PVH brings no magic number in a register */
	.global _start
_start:
	cli
	cld
	movl $PHYS(stacks + 5 * 4096), %esp
	movl %eax, %edi
	movl %ebx, %ebp /* kept from CPUID, which overwrites %ebx */
	movl $PHYS(requirements), %esi
	pushfl
	xorl $0x200000, (%esp) /* EFLAGS.ID: can be changed where there is CPUID */
	movl (%esp), %edx
	popfl
	pushfl
	popl %eax
	xorl %edx, %eax
	testl $0x200000, %eax
	jnz refuse
next_requirement:
	addl $12, %esi
	movl (%esi), %eax
	andl $0x80000000, %eax /* what is the greatest leaf of this kind? */
	cpuid
	xorl %edx, %edx
	cmpl (%esi), %eax
	jb 1f
	movl (%esi), %eax
	cpuid
1:	testl %edx, 4(%esi)
	jz refuse
	cmpl $PHYS(last_requirement), %esi
	jb next_requirement
	movl $PHYS(early_root), %esi
	movl $0xa0, %eax /* CR4: PAE, PGE */

paging_on: /* with root %esi and CR4 %eax */
	movl %eax, %cr4
	movl %esi, %cr3
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
	movq $stacks + 5 * 4096, %rsp /* of the boot stack: see mmu.c */
	movl %ebp, %esi
	xorl %ebp, %ebp /* backtraces end here */
	pushq $0
	jmp *continue_at

	.global enter_la57 /* _Noreturn void enter_la57(void (*then)(void)), on an empty stack */
enter_la57:
	movq %rdi, continue_at
	pushq $CODE32_CS
	pushq $PHYS(1f)
	lretq
	.code32
1:	movl %cr0, %eax
	andl $0x7fffffff, %eax /* PG */
	movl %eax, %cr0
	movl %cr4, %eax
	orl $0x1000, %eax /* LA57 */
	movl $PHYS(early_root5), %esi
	jmp paging_on

refuse: /* say 8(%esi) on COM1 and stop; QEMU's debug port, if there is one, gives exit status 35 */
	movl 8(%esi), %esi
	.irp setup, 0x100, 0x380, 0x001, 0x100, 0x303, 0x207, 0x403 /* register, value */
	movw $COM1 + (\setup >> 8), %dx
	movb $(\setup & 0xff), %al
	outb %al, %dx
	.endr
next_char:
	movl $1000000, %ecx /* polls: a port that is not there must not stop us */
	movw $COM1 + 5, %dx
1:	inb %dx, %al
	andb $0x60, %al /* everything sent? */
	cmpb $0x60, %al
	loopne 1b
	lodsb
	movw $COM1, %dx
	testb %al, %al
	jz 1f
	outb %al, %dx
	jmp next_char
1:	movb $0x11, %al
	outb %al, $0xf4
1:	hlt
	jmp 1b

	.section .rodata
	.balign 8
gdt:	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff /* as numbered above */
gdt_pointer:
	.short 4 * 8 - 1
	.long PHYS(gdt)

	.macro needs leaf, bit, what /* the bit of %edx that CPUID gives for this leaf */
	.long \leaf, 1 << \bit, PHYS(1f)
	.pushsection .rodata.str
1:	.asciz "\r\nTessera needs \what; this CPU has none.\r\nTry qemu -cpu max.\r\n"
	.popsection
	.endm
requirements:
	needs 0, 0, "the CPUID instruction" /* tried without CPUID */
	needs 0x80000001, 29, "a 64-bit CPU (long mode)"
	needs 0x80000001, 20, "no-execute pages (NX)"
	needs 1, 3, "large pages (PSE)"
	needs 1, 4, "a time-stamp counter (TSC)"
	needs 1, 5, "model-specific registers (MSR)"
	needs 1, 6, "wide page-table entries (PAE)"
last_requirement:
	needs 1, 13, "global pages (PGE)"

	.data
continue_at:
	.quad boot_main
	.balign 4096
	.macro root low, high /* entries 0, 273 and 511; 3: present, writable */
	.quad PHYS(\low) + 3
	.fill 272, 8, 0
	.quad PHYS(\low) + 3
	.fill 237, 8, 0
	.quad PHYS(\high) + 3
	.endm
early_root5:
	root early_root, early_root
early_root:
	root pdpt_low, pdpt_high
pdpt_low:
	.quad PHYS(pds) + 0x0003, PHYS(pds) + 0x1003, PHYS(pds) + 0x2003, PHYS(pds) + 0x3003
	.fill 508, 8, 0
pdpt_high:
	.fill 510, 8, 0
	.quad PHYS(pds) + 3, 0
pds:	.set page, 0
	.rept 4 * 512
	.quad page << 21 | 0x83 /* a leaf of 2 MiB */
	.set page, page + 1
	.endr
