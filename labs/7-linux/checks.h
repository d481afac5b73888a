/*
 * checks.h - the kernel that checks itself does not while the ladder's tests count (ladder_test.c).
 *
 * Or they would count junk that is written over memory, and notes of locks: all that Linux's figures
 * lack, and `make bench`, too. lab.mk includes it everywhere.
 */
#pragma once
#ifndef __ASSEMBLER__
__attribute__((common)) _Bool checks_off; /* in every object; the linker makes one of them */
#if CHECKING
#undef CHECKING
#define CHECKING (!checks_off)
#endif
#endif
