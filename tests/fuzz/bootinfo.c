/*
 * bootinfo.c - what a loader leaves in memory, against a second reading.
 *
 * The input is all of physical memory from BASE on, byte for byte: nothing else can be reached, and
 * the sanitizer sees every read past its end. Its first byte says which loader it was. The model
 * reads the same bytes by the words of the Multiboot2 specification and of Xen's start_info.h,
 * puts the ranges into strips (strips.h) and counts what deserves a complaint.
 */
#include <stdio.h>
#include <string.h>

#include <kernel/bootinfo.h>

#include "strips.h"

#define BASE 0x9000ul

static const u8 *memory;
static u64 memory_bytes;
static struct bootinfo info;
static struct strips strips;

/* What the model makes of it. */
static struct {
	char cmdline[1024];
	struct {
		u64 start, bytes;
	} modules[BOOT_MODULES];
	unsigned nr_modules;
	u64 rsdp, complaints;
} model;

static const void *reader(u64 pa, u64 bytes)
{
	if (pa < BASE || pa - BASE > memory_bytes || bytes > memory_bytes - (pa - BASE))
		return NULL;
	return memory + (pa - BASE);
}

/* Offsets into memory may be anything. */
static bool reaches(u64 at, u64 bytes)
{
	return at <= memory_bytes && bytes <= memory_bytes - at;
}

static u64 get(u64 at, int bytes)
{
	u64 value = 0;

	for (int i = 0; i < bytes; i++)
		value |= (u64)memory[at + i] << 8 * i;
	return value;
}

static void get_string(char *out, u64 room, u64 at, u64 most)
{
	u64 n = 0;

	memset(out, 0, room);
	for (; n < most && n < room && reaches(at + n, 1) && memory[at + n]; n++)
		if (n < room - 1)
			out[n] = memory[at + n];
	model.complaints += n == room;
}

static void get_ranges(u64 at, u64 nr, u64 step)
{
	static const int types[] = { MEM_USABLE, MEM_RESERVED, MEM_ACPI, MEM_NVS, MEM_BAD };
	u64 i = 0;

	for (; i < nr && i < 4096 && reaches(at, 24); i++, at += step) {
		u64 type = get(at + 16, 4);

		strips_insert(&strips, get(at, 8), get(at + 8, 8),
			      type >= 1 && type <= 5 ? types[type - 1] : MEM_NR_TYPES);
	}
	model.complaints += i < nr;
}

static void get_module(u64 start, u64 bytes)
{
	if (!bytes || model.nr_modules == BOOT_MODULES) {
		model.complaints++;
		return;
	}
	model.modules[model.nr_modules].start = start;
	model.modules[model.nr_modules++].bytes = bytes;
}

static void get_tag(u64 at, u64 type, u64 size)
{
	u64 first = size >= 16 ? get(at + 8, 4) : 0, second = size >= 16 ? get(at + 12, 4) : 0;

	if (type == 1)
		get_string(model.cmdline, sizeof(model.cmdline), at + 8, size - 8);
	if (type == 3)
		get_module(first, second > first ? second - first : 0);
	if (type == 6 && first >= 24)
		get_ranges(at + 16, (size - 16) / first, first);
	if (type == 15 || (type == 14 && !model.rsdp))
		model.rsdp = BASE + at + 8;
}

static bool read_multiboot2(void)
{
	u64 total = reaches(0, 4) ? get(0, 4) : 0, size;

	if (total < 16 || total > MiB || !reaches(0, total))
		return false;
	for (u64 at = 8; reaches(at, 8) && get(at, 4); at += (size + 7) / 8 * 8) {
		size = get(at + 4, 4);
		if (size < 8 || at + size > total) {
			model.complaints++;
			break;
		}
		get_tag(at, get(at, 4), size);
	}
	return strips.nr;
}

static bool read_pvh(void)
{
	u64 at, nr;

	if (!reaches(0, 56) || get(0, 4) != 0x336ec578 || get(4, 4) < 1)
		return false;
	model.rsdp = get(32, 8);
	get_string(model.cmdline, sizeof(model.cmdline), get(24, 8) - BASE, ~0ul);
	at = get(16, 8) - BASE;
	nr = get(12, 4);
	for (u64 i = 0; i < nr && i <= BOOT_MODULES; i++, at += 32)
		if (reaches(at, 16))
			get_module(get(at, 8), get(at + 8, 8));
	get_ranges(get(40, 8) - BASE, get(48, 4), 24);
	return strips.nr;
}

static void run(struct bytes *in)
{
	u8 which = byte(in);
	u32 magic = which == 255 ? which : which & 1 ? PVH_MAGIC : MULTIBOOT2_MAGIC;
	const char *error;
	bool good;

	memory = in->at;
	memory_bytes = left(in);
	fuzz_operations++;
	fuzz_complaints = 0;
	memset(&model, 0, sizeof(model));
	strips.nr = strips.wrapping = strips.unknown = strips.beyond = 0;
	error = bootinfo_parse(&info, magic, BASE, reader, fuzz_count_complaint);
	good = (which & 1 ? read_pvh : read_multiboot2)(); /* no magic of Multiboot2: PVH */
	EXPECT(good ? !error : error && strlen(error) > 20);
	EXPECT_EQ(fuzz_complaints, model.complaints);
	if (error)
		return;
	fuzz_operations += strips.nr; /* each is compared by itself */
	expect_same(&info.map, &strips);
	EXPECT(info.map.wrapping == strips.wrapping && info.map.unknown == strips.unknown);
	EXPECT(!strcmp(info.cmdline, model.cmdline));
	EXPECT_EQ(info.rsdp, model.rsdp);
	EXPECT_EQ(info.nr_modules, model.nr_modules);
	for (unsigned i = 0; i < model.nr_modules; i++) {
		EXPECT_EQ(info.modules[i].start, model.modules[i].start);
		EXPECT_EQ(info.modules[i].bytes, model.modules[i].bytes);
	}
	EXPECT(!strcmp(info.protocol, which & 1 ? "pvh" : "multiboot2"));
}

FUZZ_TARGET(bootinfo, NULL, run);
