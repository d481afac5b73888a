/*
 * traps.S - the first instructions after an exception or interrupt, and those that may cause one.
 *
 * Each vector has a stub of 16 bytes that pushes the vector and, where the CPU did not, an error
 * code of 0. Then all registers are saved in the order of struct trap_frame, and below it, for the
 * backtrace, a frame as a call would have made it: as if the faulting instruction had called us.
 */
	.text
	.balign 16
	.global trap_stubs
trap_stubs: .set vector, 0
	.rept 64 /* NR_VECTORS */
	.balign 16
	.if !((1 << vector) & 0x60227d00) /* 8, 10-14, 17, 21, 29, 30 bring an error code */
	pushq $0
	.endif
	pushq $vector
	jmp trap_entry
	.set vector, vector + 1
	.endr

trap_entry:
	.irp reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	pushq %\reg
	.endr
	cld
	movq %rsp, %rdi
	pushq 17 * 8(%rsp) /* rip */
	incq (%rsp) /* a return address lies behind what was done */
	pushq %rbp
	movq %rsp, %rbp
	call trap
	addq $16, %rsp
	.irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
	popq %\reg
	.endr
	addq $16, %rsp
	iretq

/* Where an exception strikes at the first instruction of one, trap() goes on at probe_failed. */
	.global probe_read, probe_write, probe_fetch, probe_done, probe_failed
probe_read: /* bool probe_read(vaddr_t va, u8 *byte) */
	movb (%rdi), %al
	movb %al, (%rsi)
	jmp probe_done
probe_write: /* bool probe_write(vaddr_t va, u8 byte) */
	movb %sil, (%rdi)
	jmp probe_done
probe_fetch: /* bool probe_fetch(vaddr_t va) */
	call *%rdi
probe_done:
	movl $1, %eax
	ret
probe_failed:
	xorl %eax, %eax
	ret
