/*
 * bootinfo.c - reading what the loader left in memory, believing none of it.
 *
 * Multiboot2 leaves one block of tags, each with its type and size, up to an end tag; PVH a small
 * record with the addresses of all else. An address may lead nowhere, a size may run past the end.
 * So copy() fetches all, `reader` knows what can be reached, sizes are compared with what is left,
 * each string is cut, nonsense passed over with a complaint. Only the memory map cannot be missing.
 */
#include <kernel/bootinfo.h>
#include <kernel/string.h>

/* Multiboot2 3.6: tag types. */
enum { TAG_END, TAG_CMDLINE, TAG_MODULE = 3, TAG_MEMMAP = 6, TAG_RSDP_OLD = 14, TAG_RSDP_NEW };

static phys_reader reader;
static complain_fn warn;

/* False, and zeros, where the loader's addresses lead out of reach. */
static bool copy(void *out, u64 pa, u64 bytes)
{
	const void *from = reader(pa, bytes);

	memset(out, 0, bytes);
	if (from)
		memcpy(out, from, bytes);
	return from;
}

/* A string of at most max bytes, NUL included or not, that may end anywhere. */
static void copy_string(char *out, u64 out_bytes, u64 pa, u64 max)
{
	u64 n = 0;

	while (n < MIN(max, out_bytes) && copy(out + n, pa + n, 1) && out[n])
		n++;
	if (n == out_bytes)
		warn("boot: a text of the loader was cut after %lu bytes", --n);
	out[n] = 0;
}

/* Multiboot2 3.6.8 and PVH give the same entries, both from the BIOS's E820. */
static void add_ranges(struct memmap *map, u64 pa, u64 nr, u64 entry_bytes)
{
	const u8 types[] = { MEM_NR_TYPES, MEM_USABLE, MEM_RESERVED, MEM_ACPI, MEM_NVS, MEM_BAD };
	u64 i, entry[3]; /* start, bytes, type: of this one the lower half */

	for (i = 0; i < MIN(nr, 4096) && copy(entry, pa, sizeof(entry)); i++) {
		u32 type = entry[2];

		memmap_insert(map, entry[0], entry[1], types[type < ARRAY_SIZE(types) ? type : 0]);
		pa += entry_bytes;
	}
	if (i < nr)
		warn("boot: only %lu of %lu entries of the memory map are used", i, nr);
}

static void add_module(struct bootinfo *info, u64 start, u64 bytes)
{
	if (info->nr_modules == BOOT_MODULES || bytes == 0)
		return warn("boot: module at 0x%lx ignored: it is empty or one too many", start);
	info->modules[info->nr_modules].start = start;
	info->modules[info->nr_modules++].bytes = bytes;
}

/* One tag at pa; size counts its head of 8 bytes, and is what can be read. */
static void read_tag(struct bootinfo *info, u32 type, u64 pa, u32 size)
{
	u32 w[2] = { 0 };

	if (size >= 16)
		copy(w, pa + 8, 8);
	if (type == TAG_CMDLINE)
		copy_string(info->cmdline, sizeof(info->cmdline), pa + 8, size - 8);
	else if (type == TAG_MODULE)
		add_module(info, w[0], w[1] > w[0] ? w[1] - w[0] : 0);
	else if (type == TAG_MEMMAP && w[0] >= 24)
		add_ranges(&info->map, pa + 16, (size - 16) / w[0], w[0]);
	else if (type == TAG_RSDP_NEW || (type == TAG_RSDP_OLD && !info->rsdp))
		info->rsdp = pa + 8; /* the tag holds a copy */
}

static const char *multiboot2(struct bootinfo *info, u64 pa)
{
	u32 total, tag[2];

	info->protocol = "multiboot2";
	if (!copy(&total, pa, 4) || total < 16 || total > MiB || !reader(pa, total))
		return "the Multiboot2 information is out of reach, or its size cannot be true";
	for (u64 at = 8; copy(tag, pa + at, 8) && tag[0] != TAG_END; at += ALIGN_UP(tag[1], 8)) {
		if (tag[1] < 8 || at + tag[1] > total) {
			warn("boot: Multiboot2 tags break off at byte %lu of %u", at, total);
			break;
		}
		read_tag(info, tag[0], pa + at, tag[1]);
	}
	return NULL;
}

static const char *pvh(struct bootinfo *info, u64 pa)
{
	struct {
		u32 magic, version, flags, nr_modules;
		u64 modules, cmdline, rsdp, map, nr_entries; /* the last: its lower half */
	} s;
	u64 m[2]; /* of a module: address, bytes */

	info->protocol = "pvh";
	if (!copy(&s, pa, sizeof(s)) || s.magic != PVH_MAGIC || s.version < 1)
		return "the loader speaks neither Multiboot2 nor PVH (of version 1 or later)";
	info->rsdp = s.rsdp;
	copy_string(info->cmdline, sizeof(info->cmdline), s.cmdline, ~0ul);
	for (u64 i = 0; i < MIN(s.nr_modules, BOOT_MODULES + 1); i++)
		if (copy(m, s.modules + i * 32, sizeof(m)))
			add_module(info, m[0], m[1]);
	add_ranges(&info->map, s.map, (u32)s.nr_entries, 24);
	return NULL;
}

const char *bootinfo_parse(struct bootinfo *info, u32 magic, u64 pa, phys_reader read,
			   complain_fn complain)
{
	const char *error;

	reader = read;
	warn = complain;
	memset(info, 0, sizeof(*info));
	error = magic == MULTIBOOT2_MAGIC ? multiboot2(info, pa) : pvh(info, pa);
	return error || info->map.nr ? error : "what the loader left holds no memory map";
}
