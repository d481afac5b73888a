/* main.h - what boot/ calls, on one CPU, when bootinfo, words and address_map are filled in. */
#pragma once

/* Bring up mm/, do the work that `words` asks for, then the monitor or the end. Once. */
_Noreturn void kernel_main(void);
