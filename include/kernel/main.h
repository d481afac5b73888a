/*
 * main.h - what boot/ calls when the machine stands.
 */
#pragma once

/*
 * Bring up mm/, do the work that `words` asks for, then the monitor or the end. Once, on the first
 * CPU, with bootinfo, words and address_map filled in.
 */
_Noreturn void kernel_main(void);
