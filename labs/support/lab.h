/*
 * lab.h - marks in a student's tree what is still to be written. lab.mk includes it everywhere.
 *
 *	static struct page *take_block(unsigned order)
 *	{
 *		(void)order;
 *		YOURS_TO_WRITE(1, take_block);
 *	}
 *
 * Called, it stops whoever called, not the machine: see lab.c. It does not return.
 */
#pragma once
#ifndef __ASSEMBLER__

struct lab_stub {
	unsigned lab, line;
	const char *function, *file;
};

_Noreturn void lab_stub(const struct lab_stub *stub);

/* Those in the image make an array, which the linker collects. */
#define YOURS_TO_WRITE(lab_, function_)                                                         \
	do {                                                                                    \
		static const struct lab_stub stub_                                              \
			__attribute__((used, section("lab_stubs"),                              \
				       aligned(8))) = { lab_, __LINE__, #function_, __FILE__ }; \
		lab_stub(&stub_);                                                               \
	} while (0)

#endif
