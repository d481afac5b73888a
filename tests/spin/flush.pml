/*
 * flush.pml - nothing is reused before it is flushed everywhere: mm/vmstock.c and mm/tlb.c as spin
 * sees them. It tries all interleavings of CPUS CPUs, each with its interrupts, ROUNDS calls each.
 *
 * A page here is an address together with the frame behind it: both wait in the same way, as a bit
 * of fresh, closed and ready. Inlines have the names of the functions they stand for. What a CPU
 * does to what is its own is one step with at most one look at what others change meanwhile, and
 * with interrupts masked, unless it lets them in.
 *
 * The TLB is the worst that SDM 3A, 4.10 allows: a CPU remembers each translation as soon as there
 * is one and forgets only when it flushes; what is mapped then it remembers again at once. To
 * remember less would only make fewer mistakes visible.
 *
 * What must hold:
 *	safety		a page that is ready for reuse is in no CPU's TLB (open_batch, vmalloc)
 *	release		after stock_settle(true), the first for an older batch, nothing waits here, unless a drain in its midst
 *			sees to that; at the end nothing waits anywhere
 *	progress	every run ends: no state in which all wait for each other, and no circle
 *	promise		(with PROMISE) all that waited when a drain began is released at its end
 *	deferral	(with DEFER) while an interrupt's free waits, some CPU knows that it must settle
 *
 * Each wrong variant, chosen by -D, breaks one of them; tests/spin/run has the list.
 */
#ifndef CPUS
#define CPUS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CALLS
#define CALLS (CPUS * ROUNDS)
#endif
#define SETTLES 3 /* the first may be for an older batch */
#define ALL_CPUS(c) c : 0 .. CPUS - 1

byte mapped = (1 << CPUS) - 1;	  /* page table entries that are present */
byte tlb[CPUS] = (1 << CPUS) - 1; /* translations that this CPU can use */

/* struct vm_stock of each CPU, and the depot */
byte fresh[CPUS], closed[CPUS], ready[CPUS], depot;
byte flush[CPUS];   /* the number that the closed batch waits for; 0: there is none */
byte promised;	    /* ghost: what waited when a drain began, and has not been released since */
bool drained[CPUS]; /* ghost: a drain has closed our batch, and will open it */

/* tlb.c, smp.c, vm_unmap_aliases */
byte begun, done, finished, calls = CALLS;
bool busy, draining;
mtype = { FLUSH, CLOSE, EMPTY };
mtype fn; /* of the call in flight */
bool asked[CPUS];
byte left;

bool masked[CPUS]; /* a CPU's interrupts */

#ifdef NUMBER_FIRST
byte early[CPUS];
#endif
#ifdef DEFER
bool deferred;	/* vmalloc.c: an interrupt has freed an area that waits for whoever settles next */
#endif
#ifdef DUE_BY_CPU
bool due[CPUS]; /* the CPU whose interrupt it was is to know, until its batch is opened */
#define knows_of_deferred(cpu) (due[cpu])
#else
#define knows_of_deferred(cpu) (deferred) /* stock_due */
#endif

#ifdef DONE_FOR_BEGUN
#define tlb_next_flush() (done + 1)
#else
#define tlb_next_flush() (begun + 1)
#endif
#ifdef BEGUN_FOR_DONE
#define tlb_flushed(number) (begun >= number)
#else
#define tlb_flushed(number) (done >= number)
#endif

/* off: the caller of it all had interrupts masked already. */
#define irq_save()    (off || !masked[me]) -> masked[me] = true
#define irq_restore() masked[me] = off

/* vmstock.c: steps */

inline close_batch() {
	closed[me] = closed[me] | fresh[me];
	fresh[me] = 0;
#ifdef NUMBER_FIRST
	flush[me] = (early[me] -> early[me] : tlb_next_flush());
#else
	flush[me] = tlb_next_flush();
#endif
}

inline open_batch() {
	if
#ifdef OPEN_EARLY
	:: flush[me] ->
#else
	:: flush[me] && tlb_flushed(flush[me]) ->
#endif
		flush[me] = 0;
		depot = depot | ready[me]; /* as if each list were long */
#ifdef YOUNGER_TOO
		closed[me] = closed[me] | fresh[me];
		fresh[me] = 0;
#endif
		for (ALL_CPUS(c)) { assert(!(tlb[c] & closed[me])) }
		ready[me] = closed[me];
		promised = promised & ~closed[me];
		closed[me] = 0;
#ifdef DUE_BY_CPU
		due[me] = false;
#endif
#ifdef DEFER
		assert(!deferred || knows_of_deferred(me) || knows_of_deferred(1 - me))
#endif
	:: else
	fi
}

inline at_flush() {
	if
#ifndef CLOSE_AGAIN
	:: flush[me]
#endif
	:: else -> close_batch()
	fi
}

inline close_here() {
	drained[me] = true;
	close_batch()
}

inline empty_here() {
	open_batch();
	depot = depot | ready[me];
	ready[me] = 0
}

/* tlb.c, smp.c */

/* One step: `begun` stands still while a flush waits for us. */
inline flush_this_cpu() {
	tlb[me] = mapped;
	at_flush()
}

inline call_fn(which) {
	if
	:: which == FLUSH -> flush_this_cpu()
	:: which == CLOSE -> close_here()
	:: which == EMPTY -> empty_here()
	fi
}

/* One step: who called looks at `left` only. */
inline cpu_serve() {
	asked[me] = false;
	call_fn(fn);
	assert(left > 0);
	left--
}

inline on_other_cpus(which) {
	do
	:: atomic { !busy -> busy = true; break }
#ifndef CALL_WITHOUT_SERVING
	:: d_step { asked[me] -> cpu_serve() }
#endif
	od;
	skip;
#ifdef COUNT_LATE
	d_step { fn = which; for (ALL_CPUS(c)) { asked[c] = (c != me) } }
	left = CPUS - 1;
#else
	d_step { fn = which; left = CPUS - 1; for (ALL_CPUS(c)) { asked[c] = (c != me) } }
#endif
	atomic { left == 0 -> busy = false }
}

inline on_every_cpu(which) {
	d_step { irq_save(); call_fn(which) }
	on_other_cpus(which);
	irq_restore()
}

inline flush_every_cpu() {
	d_step { flush_this_cpu() }
#ifndef FLUSH_HERE_ONLY
	on_other_cpus(FLUSH);
#endif
}

/* Where another turn would change nothing, the loop waits. */
inline tlb_flush(number) {
	do
	:: tlb_flushed(number) -> break
#ifndef FLUSH_WITHOUT_SERVING
	:: d_step { !tlb_flushed(number) && begun != done && asked[me] && (off || !masked[me]) -> cpu_serve() }
#endif
	:: atomic { !tlb_flushed(number) && begun == done && (off || !masked[me]) ->
		masked[me] = true;
		begun++;
#ifdef DONE_EARLY
		done = begun
#endif
	   }
		flush_every_cpu();
		d_step { assert(done <= begun); done = begun; irq_restore() }
	od;
	skip
}

/* vmstock.c: calls */

inline stock_settle(all) {
	d_step { irq_save(); open_batch() }
	if
	:: true ->
		d_step {
#ifdef NEW_NUMBER
			close_batch();
#else
			at_flush(); /* unless one is closed already */
#endif
			number = flush[me];
			irq_restore()
		}
		tlb_flush(number);
		d_step { irq_save(); open_batch(); irq_restore(); number = 0 }
#ifdef DEFER
	:: !all && !knows_of_deferred(me) -> irq_restore()
#else
	:: !all -> irq_restore() /* it is not due */
#endif
	fi
}

inline vm_unmap_aliases() {
	do
	:: atomic { !draining -> draining = true; break }
#ifndef DRAIN_WITHOUT_SERVING
	:: d_step { asked[me] && (off || !masked[me]) -> cpu_serve() }
#endif
	od;
	skip;
	d_step { for (ALL_CPUS(c)) { promised = promised | fresh[c] | closed[c] } }
	on_every_cpu(CLOSE);
	number = tlb_next_flush();
	tlb_flush(number);
	on_every_cpu(EMPTY);
#ifdef PROMISE
	assert(!promised);
#endif
	d_step { promised = 0; draining = false; number = 0 }
}

/* vmalloc.c */

/* One page, of this CPU's stock or of all CPUs'; nothing if there is none. */
inline vmalloc() {
	d_step {
		irq_save();
		used = ready[me] | depot;
		used = used & ~(used - 1);
		depot = depot & ~used;
		ready[me] = ready[me] & ~used;
		mapped = mapped | used;
		for (ALL_CPUS(c)) {
			assert(!(tlb[c] & used));
			tlb[c] = tlb[c] | used
		}
		irq_restore()
	}
}

inline vfree() {
#ifdef NUMBER_FIRST
	early[me] = tlb_next_flush();
#endif
#ifdef FREE_UNMASKED
	fresh[me] = fresh[me] | used;
	d_step { mapped = mapped & ~used; used = 0 }
#else
	d_step {
		irq_save();
		mapped = mapped & ~used;
		fresh[me] = fresh[me] | used;
		used = 0;
		irq_restore()
	}
#endif
}

inline vm_free_deferred() {
#ifdef DEFER
	deferred = false
#else
	skip
#endif
}


active [CPUS] proctype cpu()
{
	byte me = _pid, round, number, used = 1 << _pid, c;
	bool off;

	do
	:: atomic { calls && round < ROUNDS ->
		calls--;
		round++;
		if
		:: off = false
		:: off = true
		fi;
		masked[me] = off
	   }
		if
		:: used -> vfree(); vm_free_deferred(); stock_settle(false)
		:: !used -> vmalloc()
		:: true -> vm_free_deferred(); vm_unmap_aliases()
		fi;
		d_step { off = false; masked[me] = false }
	:: atomic { !calls || round == ROUNDS -> round = 0; break }
	od;
	do
	:: d_step { (fresh[me] | closed[me]) && round < SETTLES && !(round && drained[me]) ->
		round++;
		drained[me] = false
	   }
		stock_settle(true)
	:: d_step { else ->
		assert(drained[me] || !(fresh[me] | closed[me]));
		finished++;
		for (ALL_CPUS(c)) { assert(finished < CPUS || !(fresh[c] | closed[c])) }
		c = 0
	   }
		break
	od
}

/* The interrupt that says that there is a call: at any time when it may come. */
active [CPUS] proctype interrupt()
{
	byte me = _pid - CPUS, c;

end:	do
	:: d_step { asked[me] && !masked[me] -> cpu_serve() }
#ifdef DEFER
	:: d_step { !masked[me] && !deferred && calls ->
		deferred = true;
#ifdef DUE_BY_CPU
		due[me] = true
#endif
	   }
#endif
	od
}
