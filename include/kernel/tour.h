/* tour.h - the guided tour: what a person sees first. */
#pragma once

/*
 * Shatter memory, build a vmalloc area from the pieces, show it on COM1, a `tour` record a claim,
 * give all back. Returns how many claims did not hold. Nothing else may allocate meanwhile.
 */
unsigned tour(void);
