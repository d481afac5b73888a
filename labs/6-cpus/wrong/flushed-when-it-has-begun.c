/*
 * loses: *
 * hint: done-too-early
 * thought: it is under way, so it will be done; but until the last CPU has flushed that one may use what was unmapped
 */
bool tlb_flushed(u64 number)
{
	return __atomic_load_n(&begun, __ATOMIC_ACQUIRE) >= number;
}
