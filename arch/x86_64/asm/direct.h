/*
 * direct.h - the direct map, one addition away. See arch/mmu.h.
 */
#pragma once

static inline void *phys_to_virt(paddr_t pa)
{
	return (void *)(address_map.direct + pa.v);
}
