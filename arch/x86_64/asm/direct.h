/* direct.h - the direct map, one addition away. See arch/mmu.h. */
#pragma once

static inline void *phys_to_virt(paddr_t pa)
{
	return (void *)(address_map.direct + pa.v);
}

/* Where code lies in the image, in bytes from its base: address_map.image, a constant here. */
static inline u32 code_offset(vaddr_t code)
{
	return code - 0xffffffff80000000;
}
