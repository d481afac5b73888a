/*
 * direct.h - the direct map of the simulated machine, which checks what it is asked. See arch/mmu.h.
 */
#pragma once

void *phys_to_virt(paddr_t pa);

static inline u32 code_offset(vaddr_t code)
{
	return code - address_map.image;
}
