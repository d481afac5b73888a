/*
 * tour.h - the guided tour: what a person sees first.
 */
#pragma once

/*
 * Shatter memory, build a vmalloc area from the pieces, and show every step on COM1, with a `tour`
 * record for each claim. Everything taken is given back. Returns how many claims did not hold on
 * this machine: 0 is a pass. Nothing else may allocate meanwhile.
 */
unsigned tour(void);
