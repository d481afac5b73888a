/*
 * What a loader may leave us, well formed and otherwise. Physical memory is one malloc'ed block,
 * exactly as long as what is in it, so that the sanitizer sees a read of one byte too many. Each
 * 4-byte word is replaced by every awkward value, and the whole is cut at each length: the parsers
 * must come back with NULL or a sentence, and what they filled in must be sound.
 */
#include <stdlib.h>
#include <string.h>

#include <kernel/bootinfo.h>

#include "../test.h"

#define BASE 0x9000ul /* physical address of the block */

static struct bootinfo info;
static u8 *block;
static u64 block_bytes;
static unsigned complaints;

static const void *reader(u64 pa, u64 bytes)
{
	if (pa < BASE || pa - BASE > block_bytes || bytes > block_bytes - (pa - BASE))
		return NULL;
	return block + (pa - BASE);
}

static void printf_like(1, 2) complain(const char *fmt, ...)
{
	complaints += *fmt != '\0';
}

static bool sound(void)
{
	const struct memmap *map = &info.map;

	for (unsigned i = 0; i < map->nr; i++) {
		const struct memrange *range = &map->range[i];

		if (range->start >= range->end || range->type >= MEM_NR_TYPES ||
		    range->end > MEMMAP_LIMIT || (i && range->start < range[-1].end))
			return false;
	}
	return map->nr <= MEMMAP_MAX && info.nr_modules <= BOOT_MODULES &&
	       memchr(info.cmdline, 0, sizeof(info.cmdline));
}

/* Parse the first bytes of image, in a block of just that size. True if the outcome is in order. */
static bool survives(u32 magic, const u8 *image, u64 bytes)
{
	const char *error;
	bool ok;

	block = malloc(bytes);
	block_bytes = bytes;
	memcpy(block, image, bytes);
	error = bootinfo_parse(&info, magic, BASE, reader, complain);
	ok = error ? strlen(error) > 20 : info.map.nr > 0 && sound();
	free(block);
	return ok;
}

/* Building what a loader builds */

static u8 image[16384];
static u64 used;

static u64 put(const void *data, u64 bytes)
{
	u64 at = used;

	memcpy(image + used, data, bytes);
	used += bytes;
	return at;
}

static void put32(u32 value)
{
	put(&value, 4);
}

static void put64(u64 value)
{
	put(&value, 8);
}

static void put_range(u64 start, u64 bytes, u32 type)
{
	put64(start);
	put64(bytes);
	put32(type);
	put32(0);
}

static void put_tag(u32 type, const void *data, u64 bytes)
{
	put32(type);
	put32(8 + bytes);
	put(data, bytes);
	used = ALIGN_UP(used, 8);
}

/* Multiboot2 specification 3.6. */
static void make_multiboot2(void)
{
	const u32 module[] = { 0x200000, 0x201000, 'm' | 'o' << 8 | 'd' << 16 };
	const u32 framebuffer[] = { 0xfd000000, 0, 4096, 1024, 768, 32 | 1 << 8 };
	u64 total;

	memset(image, 0, sizeof(image));
	used = 0;
	put64(0);
	put_tag(1, "tour exit", 10);
	put_tag(2, "GRUB 2.06", 10);
	put_tag(3, module, sizeof(module));
	put_tag(4, "abcdefgh", 8); /* not for us: basic memory */
	put32(6);
	put32(16 + 5 * 24);
	put32(24);
	put32(0);
	put_range(0x100000, 0x7ee0000, 1);
	put_range(0, 0x9fc00, 1);
	put_range(0xf0000, 0x10000, 2);
	put_range(0x100000000, 0x40000000, 1);
	put_range(0x7fe0000, 0x20000, 77);
	put_tag(8, framebuffer, 22);
	put_tag(14, "RSD PTR ....................", 20);
	put_tag(15, "RSD PTR ............................", 36);
	put_tag(0, "", 0);
	total = used;
	memcpy(image, &total, 4);
}

/* Xen's include/public/arch-x86/hvm/start_info.h. */
static void make_pvh(void)
{
	memset(image, 0, sizeof(image));
	used = 0;
	put32(PVH_MAGIC);
	put32(1);
	put32(0);
	put32(1);
	put64(BASE + 56);	    /* modules */
	put64(BASE + 56 + 32);	    /* command line */
	put64(0xf5a10);		    /* RSDP */
	put64(BASE + 56 + 32 + 24); /* map */
	put32(4);
	put32(0);
	put64(0x300000); /* the module */
	put64(0x1234);
	put64(BASE + 56 + 32 + 10);
	put64(0);
	put("test exit\0mod\0", 24 - 10);
	used = 56 + 32 + 24;
	put_range(0x100000, 0x7ee0000, 1);
	put_range(0, 0x9fc00, 1);
	put_range(0xf0000, 0x10000, 2);
	put_range(0, 0, 0);
}

TEST(bootinfo, multiboot2_is_understood)
{
	make_multiboot2();
	complaints = 0;
	EXPECT(survives(MULTIBOOT2_MAGIC, image, used));
	EXPECT(!strcmp(info.protocol, "multiboot2"));
	EXPECT(!strcmp(info.cmdline, "tour exit"));
	EXPECT_EQ(info.nr_modules, 1);
	EXPECT_EQ(info.modules[0].start, 0x200000);
	EXPECT_EQ(info.modules[0].bytes, 0x1000);
	EXPECT(info.rsdp > BASE && info.rsdp < BASE + used);
	/* Without frame 0, which is never ours, and without the half page at the end. */
	EXPECT_EQ(memmap_bytes(&info.map, MEM_USABLE), 0x9e000 + 0x7ee0000 + 0x40000000);
	EXPECT_EQ(info.map.unknown, 1);
	EXPECT_EQ(complaints, 0);
}

TEST(bootinfo, pvh_is_understood)
{
	make_pvh();
	complaints = 0;
	EXPECT(survives(PVH_MAGIC, image, used));
	EXPECT(!strcmp(info.protocol, "pvh") && !strcmp(info.cmdline, "test exit"));
	EXPECT_EQ(info.nr_modules, 1);
	EXPECT_EQ(info.modules[0].start, 0x300000);
	EXPECT_EQ(info.modules[0].bytes, 0x1234);
	EXPECT_EQ(info.rsdp, 0xf5a10);
	EXPECT_EQ(memmap_bytes(&info.map, MEM_USABLE), 0x9e000 + 0x7ee0000);
	EXPECT_EQ(complaints, 0);
}

/* The first length at which it failed, or ~0ul. */
static u64 cut_everywhere(u32 magic)
{
	for (u64 bytes = 0; bytes < used; bytes++)
		if (!survives(magic, image, bytes))
			return bytes;
	return ~0ul;
}

/* The first word that, replaced, broke it, or ~0ul. Then also random bytes, several at once. */
static u64 corrupt_everything(u32 magic)
{
	static const u32 fixed[] = { 0,	  1,	      2,	  7,	      8,
				     9,	  15,	      16,	  24,	      255,
				     MiB, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff };
	const u32 sizes[] = { BASE, BASE + used - 1, used - 8, used, used + 1 };
	u8 good[sizeof(image)];

	memcpy(good, image, sizeof(image));
	for (u64 at = 0; at + 4 <= used; at += 4) {
		for (unsigned i = 0; i < ARRAY_SIZE(fixed) + ARRAY_SIZE(sizes); i++) {
			memcpy(image + at,
			       i < ARRAY_SIZE(fixed) ? &fixed[i] : &sizes[i - ARRAY_SIZE(fixed)],
			       4);
			if (!survives(magic, image, used))
				return at;
		}
		memcpy(image + at, good + at, 4);
	}
	for (int i = 0; i < 5000; i++) {
		for (u64 n = test_random() % 8 + 1; n; n--)
			image[test_random() % used] = test_random();
		if (!survives(magic, image, used))
			return i;
		if (i % 8 == 0)
			memcpy(image, good, sizeof(image));
	}
	return ~0ul;
}

TEST(bootinfo, multiboot2_malformed)
{
	make_multiboot2();
	EXPECT_EQ(cut_everywhere(MULTIBOOT2_MAGIC), ~0ul);
	EXPECT_EQ(corrupt_everything(MULTIBOOT2_MAGIC), ~0ul);
}

TEST(bootinfo, pvh_malformed)
{
	make_pvh();
	EXPECT_EQ(cut_everywhere(PVH_MAGIC), ~0ul);
	EXPECT_EQ(corrupt_everything(PVH_MAGIC), ~0ul);
}

/* More of everything than there is room for. */
TEST(bootinfo, too_much_is_cut)
{
	const u32 module[] = { 0x200000, 0x201000, 'm' };
	char text[3000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	make_multiboot2();
	used -= 8; /* the end tag */
	for (int i = 0; i < BOOT_MODULES + 4; i++)
		put_tag(3, module, sizeof(module));
	put_tag(1, text, sizeof(text));
	put_tag(6, "\x18\0\0\0\0\0\0", 8);
	for (int i = 0; i < 200; i++)
		put_range(i * 16 * MiB, 8 * MiB, 1);
	image[used - 200 * 24 - 12] = (16 + 200 * 24) & 255;
	image[used - 200 * 24 - 11] = (16 + 200 * 24) >> 8;
	put_tag(0, "", 0);
	memcpy(image, &(u32){ used }, 4);
	complaints = 0;
	EXPECT(survives(MULTIBOOT2_MAGIC, image, used));
	EXPECT_EQ(info.nr_modules, BOOT_MODULES);
	EXPECT_EQ(strlen(info.cmdline), sizeof(info.cmdline) - 1);
	EXPECT(complaints >= 6);
	EXPECT(info.map.nr > 100 && info.map.dropped > 0);
}

/* Parts that are missing or lie out of reach, each told in words. */
TEST(bootinfo, nothing_to_go_on)
{
	block_bytes = 0;
	EXPECT(bootinfo_parse(&info, MULTIBOOT2_MAGIC, BASE, reader, complain));
	EXPECT(bootinfo_parse(&info, PVH_MAGIC, BASE, reader, complain));
	make_multiboot2();
	used = 24;
	image[0] = 24;
	image[1] = 0;
	EXPECT(survives(MULTIBOOT2_MAGIC, image, used));
	EXPECT(bootinfo_parse(&info, MULTIBOOT2_MAGIC, 0, reader, complain));
	make_multiboot2();
	used -= 8 + 48 + 32 + 32 + 24; /* its size ends in the map, though more is there */
	memcpy(image, &(u32){ used }, 4);
	used += 24;
	EXPECT(survives(MULTIBOOT2_MAGIC, image, used));
	EXPECT_EQ(info.map.nr, 0);
	make_pvh();
	image[4] = 0;
	EXPECT(survives(PVH_MAGIC, image, used));
}
