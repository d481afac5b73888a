/*
 * direct.h - the direct map of the simulated machine, which checks what it is asked. See arch/mmu.h.
 */
#pragma once

void *phys_to_virt(paddr_t pa);
