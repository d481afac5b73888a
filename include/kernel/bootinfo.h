/*
 * bootinfo.h - what firmware and loader told us, whichever way we came. Used once, on one CPU,
 * before mm_init(). docs/boot.md.
 */
#pragma once

#include <mm/memmap.h>

#define MULTIBOOT2_MAGIC 0x36d76289u /* in %eax, where PVH has nothing: Multiboot2 3.3 */
#define PVH_MAGIC 0x336ec578u /* start_info.magic: Xen's include/public/arch-x86/hvm/start_info.h */
#define BOOT_MODULES 8

struct bootinfo {
	const char *protocol; /* "multiboot2" or "pvh" */
	char cmdline[1024];
	struct memmap map; /* firmware's map; image and modules are in it */
	struct {
		u64 start, bytes;
	} modules[BOOT_MODULES];
	unsigned nr_modules;
	u64 rsdp; /* physical address of the ACPI RSDP, 0: not told */
};

/* How the parsers read physical memory: a pointer to `bytes` at pa, or NULL if out of reach. */
typedef const void *(*phys_reader)(u64 pa, u64 bytes);

/*
 * Fill *info from what the loader left at physical address pa; magic says how. complain() of parts
 * passed over. NULL, or a sentence that says what is wrong; info is then not to be used.
 */
must_check const char *bootinfo_parse(struct bootinfo *info, u32 magic, u64 pa, phys_reader read,
				      complain_fn complain);

extern struct bootinfo bootinfo; /* filled by boot before it calls: */

/* Bring up mm/, do the work that `words` asks for, then the monitor or the end. Once. In main.c. */
_Noreturn void kernel_main(void);
