/* machine.h - red zones make frames larger, so stacks are twice as large. */
#pragma once

#include_next <arch/machine.h>

#undef STACK_BYTES
#define STACK_BYTES (32 * KiB)
