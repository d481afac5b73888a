/*
 * bootinfo.c - reading what the loader left in memory, believing none of it.
 *
 * Multiboot2 leaves one block of tags, each with its type and size, up to an end tag. PVH leaves a
 * small record with addresses of everything else. A loader may have been interrupted, an address may lead
 * nowhere, a size may run past the end. So all is fetched by copy(), which asks `read` (it knows what
 * can be reached) and fills with zeros what cannot be had; each size is compared with what is left,
 * each string is cut, and what makes no sense is passed over with a complaint. Only without a
 * memory map can we not go on. What the map itself says is put in order by memmap_insert().
 */
#include <kernel/bootinfo.h>
#include <kernel/string.h>

/* Multiboot2 3.6: tag types. */
enum { TAG_END, TAG_CMDLINE, TAG_LOADER, TAG_MODULE, TAG_MEMMAP = 6, TAG_FRAMEBUFFER = 8,
       TAG_RSDP_OLD = 14, TAG_RSDP_NEW };

#define MAX_ENTRIES 4096 /* of a memory map: more is nonsense */

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

	while (n < out_bytes - 1 && n < max && copy(out + n, pa + n, 1) && out[n])
		n++;
	if (n == out_bytes - 1 && n < max)
		warn("boot: a text of the loader was cut after %lu bytes", n);
	out[n] = 0;
}

/* Multiboot2 3.6.8 and PVH give the same entries, both from the BIOS's E820. */
static void add_range(struct memmap *map, u64 pa)
{
	static const enum memmap_type types[] = { MEM_NR_TYPES, MEM_USABLE, MEM_RESERVED,
						  MEM_ACPI,	MEM_NVS,    MEM_BAD };
	struct {
		u64 start, bytes;
		u32 type, reserved;
	} entry;

	if (copy(&entry, pa, sizeof(entry)))
		memmap_insert(map, entry.start, entry.bytes,
			      types[entry.type < ARRAY_SIZE(types) ? entry.type : 0]);
}

static void add_ranges(struct memmap *map, u64 pa, u64 nr, u64 entry_bytes)
{
	if (nr > MAX_ENTRIES)
		warn("boot: the memory map claims %lu entries; only the first %u are read", nr, MAX_ENTRIES);
	for (u64 i = 0; i < MIN(nr, MAX_ENTRIES); i++)
		add_range(map, pa + i * entry_bytes);
}

static void add_module(struct bootinfo *info, u64 start, u64 bytes, u64 name, u64 name_bytes)
{
	if (info->nr_modules == BOOT_MODULES) {
		warn("boot: more than %u modules; the one at 0x%lx is passed over", BOOT_MODULES, start);
		return;
	}
	info->modules[info->nr_modules].start = start;
	info->modules[info->nr_modules].bytes = bytes;
	copy_string(info->modules[info->nr_modules++].name, sizeof(info->modules[0].name), name, name_bytes);
}

/* One tag at pa; size counts its head of 8 bytes, and is what can be read. */
static void read_tag(struct bootinfo *info, u32 type, u64 pa, u32 size)
{
	u32 w[2] = { 0 };

	if (size >= 16)
		copy(w, pa + 8, 8);
	if (type == TAG_CMDLINE)
		copy_string(info->cmdline, sizeof(info->cmdline), pa + 8, size - 8);
	else if (type == TAG_LOADER)
		copy_string(info->loader, sizeof(info->loader), pa + 8, size - 8);
	else if (type == TAG_MODULE && size >= 16 && w[1] > w[0])
		add_module(info, w[0], w[1] - w[0], pa + 16, size - 16);
	else if (type == TAG_MEMMAP && size >= 16 && w[0] >= 24)
		add_ranges(&info->map, pa + 16, (size - 16) / w[0], w[0]);
	else if (type == TAG_FRAMEBUFFER && size >= 30)
		copy(&info->framebuffer, pa + 8, 22);
	else if ((type == TAG_RSDP_OLD && size >= 28 && !info->rsdp) || (type == TAG_RSDP_NEW && size >= 44))
		info->rsdp = pa + 8;
	else if (type == TAG_MODULE || type == TAG_MEMMAP || type == TAG_FRAMEBUFFER ||
		 type == TAG_RSDP_OLD || type == TAG_RSDP_NEW)
		warn("boot: a Multiboot2 tag of type %u and %u bytes makes no sense", type, size);
}

const char *bootinfo_multiboot2(struct bootinfo *info, u64 pa, phys_reader read,
				complain_fn complain)
{
	u32 total, tag[2] = { TAG_CMDLINE, 0 };

	reader = read;
	warn = complain;
	memset(info, 0, sizeof(*info));
	info->protocol = "multiboot2";
	if (!copy(&total, pa, 4))
		return "the Multiboot2 information lies where the kernel cannot read";
	if (total < 16 || total > MiB || !read(pa, total))
		return "the Multiboot2 information gives a size of its own that cannot be true";
	for (u64 at = 8; at + 8 <= total && tag[0] != TAG_END; at += ALIGN_UP((u64)tag[1], 8)) {
		copy(tag, pa + at, 8);
		if (tag[0] != TAG_END && (tag[1] < 8 || tag[1] > total - at)) {
			warn("boot: Multiboot2 tag %u at byte %lu claims %u bytes of %lu; the rest is "
			     "passed over", tag[0], at, tag[1], total - at);
			break;
		}
		if (tag[0] != TAG_END)
			read_tag(info, tag[0], pa + at, tag[1]);
	}
	if (tag[0] != TAG_END)
		warn("boot: the Multiboot2 information has no end tag");
	return info->map.nr ? NULL : "the Multiboot2 information holds no memory map";
}

const char *bootinfo_pvh(struct bootinfo *info, u64 pa, phys_reader read, complain_fn complain)
{
	struct {
		u32 magic, version, flags, nr_modules;
		u64 modules, cmdline, rsdp, map;
		u32 nr_entries, reserved;
	} s;
	u64 m[3]; /* of a module: address, bytes, address of its command line */

	reader = read;
	warn = complain;
	memset(info, 0, sizeof(*info));
	info->protocol = "pvh";
	if (!copy(&s, pa, sizeof(s)) || s.magic != PVH_MAGIC)
		return "there is no PVH start_info where the loader says (its magic is missing)";
	if (s.version < 1)
		return "the PVH start_info is of version 0, which has no memory map";
	info->rsdp = s.rsdp;
	if (s.cmdline)
		copy_string(info->cmdline, sizeof(info->cmdline), s.cmdline, ~0ul);
	for (u32 i = 0; i < MIN(s.nr_modules, BOOT_MODULES + 1); i++)
		if (copy(m, s.modules + i * 32, sizeof(m)) && m[1])
			add_module(info, m[0], m[1], m[2], m[2] ? ~0ul : 0);
	add_ranges(&info->map, s.map, s.nr_entries, 24);
	return info->map.nr ? NULL : "the PVH start_info holds no memory map";
}
