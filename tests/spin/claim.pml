/*
 * claim.pml - of all who free an area, one goes on: free_area() and publish() of mm/vmalloc.c as spin
 * sees them. CPUS CPUs free the same pointer, as a program with a bug does, while one of them may
 * have got the same addresses again.
 *
 * What must hold: each life of the area ends once, each other free is told as a mistake, and the
 * counts of live areas, one for each CPU, sum up to what there is. Who goes on has read the entry that
 * it changed, and so knows how many pages there are.
 */
#ifndef CPUS
#define CPUS 3
#endif
#define LIVES 2

mtype = { ALLOC, FREED };
mtype kind = ALLOC;	/* in the guard's entry */
byte caller = 1;	/* there, too: it tells one life from the next */
byte freed, told;
byte lives = 1;
short areas[CPUS];	/* vm_stock.areas */
bool waiting;		/* flushed, and so in stock again */

inline publish() {
	d_step { caller++; lives++; kind = ALLOC; areas[me]++ }
}

active [CPUS] proctype free_area()
{
	byte me = _pid, was_caller;
	mtype was;

	d_step { was = kind; was_caller = caller }
	if
	:: was != ALLOC -> told++ /* bad_pointer */
	:: else ->
		if
#ifdef CLAIM_BY_STORE
		:: d_step { true -> kind = FREED }
#else
#ifdef CLAIM_KIND_ONLY
		:: d_step { kind == was -> kind = FREED; assert(caller == was_caller) }
#else
		:: d_step { kind == was && caller == was_caller -> kind = FREED }
#endif
		:: d_step { else -> told++; was = FREED }
#endif
		fi;
		if
		:: was == ALLOC ->
			d_step { areas[me]--; freed++ }
			assert(freed <= lives);
			waiting = true
		:: else
		fi
	fi;
	if
	:: atomic { waiting && lives < LIVES -> waiting = false; publish() }
	:: true
	fi
}

active proctype audit()
{
	byte c;
	short sum = 1;

	timeout ->
	d_step {
		for (c : 0 .. CPUS - 1) { sum = sum + areas[c] }
		assert(sum == (kind == ALLOC -> 1 : 0));
		assert(freed == lives - (kind == ALLOC -> 1 : 0));
		assert(freed + told == CPUS)
	}
}
