/*
 * random.c - the targets as property tests, where there is no libFuzzer, and always the same ones.
 *
 *	build/fuzz-random TARGET [SEED=n] [OPS=n] [FILE or DIRECTORY]...
 *
 * Runs the files as they are, then inputs made by dice until OPS operations were compared: random
 * bytes, and files with some bytes changed. On a failure the input is left as build/crash-TARGET.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sanitizer/common_interface_defs.h>

#include <kernel/random.h>

#include "fuzz.h"

#define FILES_MAX 2048
#define BYTES_MAX 1024

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes);

static struct input {
	u8 *data;
	u64 bytes;
} files[FILES_MAX], now;
static unsigned nr_files;
static u64 inputs, seed = 1, operations = 100000;

static void keep_input(void)
{
	char name[64];
	FILE *file;

	if (!now.data)
		return;
	snprintf(name, sizeof(name), "build/crash-%s", getenv("FUZZ_TARGET"));
	file = fopen(name, "w");
	if (file && fwrite(now.data, 1, now.bytes, file) == now.bytes && !fclose(file))
		fprintf(stderr, "input %lu of seed %lu: %lu bytes, kept in %s\n", inputs, seed,
			now.bytes, name);
}

static void on_abort(int signal)
{
	(void)signal;
	keep_input();
	_Exit(1);
}

/* In a block of just that size: the sanitizer sees a read of one byte too many. */
static void run_input(const u8 *data, u64 bytes)
{
	now = (struct input){ malloc(bytes), bytes };
	memcpy(now.data, data, bytes);
	inputs++;
	LLVMFuzzerTestOneInput(now.data, bytes);
	free(now.data);
	now.data = NULL;
}

static void read_file(const char *path)
{
	static u8 data[64 * KiB];
	FILE *file = fopen(path, "r");
	struct input *input = &files[nr_files];

	if (!file || nr_files == FILES_MAX) {
		perror(path);
		exit(2);
	}
	input->bytes = fread(data, 1, sizeof(data), file);
	input->data = malloc(input->bytes);
	memcpy(input->data, data, input->bytes);
	fclose(file);
	nr_files++;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void read_path(const char *path)
{
	struct dirent **list;
	char name[4096];
	int nr = scandir(path, &list, is_visible, alphasort);

	if (nr < 0)
		read_file(path);
	for (int i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, list[i]->d_name);
		read_file(name);
		free(list[i]);
	}
	if (nr >= 0)
		free(list);
}

/* Some bytes of an input changed, doubled, cut out, or put in from elsewhere. */
static u64 mutate(u8 *data, u64 bytes, u64 *dice)
{
	for (u64 n = 1 + random_next(dice) % 6; n; n--) {
		u64 r = random_next(dice), at = bytes ? (r >> 32) % bytes : 0;
		u64 run = 1 + (r >> 8) % 16, room = BYTES_MAX - bytes;

		run = MIN(run, bytes - at);
		switch (r % 4) {
		case 0:
			if (bytes)
				data[at] = r >> 24;
			break;
		case 1:
			if (bytes)
				data[at] ^= 1 << (r >> 24) % 8;
			break;
		case 2:
			memmove(data + at, data + at + run, bytes - at - run);
			bytes -= run;
			break;
		default:
			run = MIN(run, room);
			memmove(data + at + run, data + at, bytes - at);
			bytes += run;
		}
	}
	return bytes;
}

static void run_random(u64 *dice)
{
	u64 r = random_next(dice), bytes = 1 + (r >> 32) % (r % 4 ? 256 : BYTES_MAX);
	const struct input *file = nr_files && r >> 16 & 1 ? &files[(r >> 17) % nr_files] : NULL;
	u8 data[BYTES_MAX];

	if (file) {
		bytes = MIN(file->bytes, BYTES_MAX);
		memcpy(data, file->data, bytes);
		bytes = mutate(data, bytes, dice);
	}
	for (u64 i = 0; !file && i < bytes; i++)
		data[i] = random_next(dice);
	run_input(data, bytes);
}

int main(int argc, char **argv)
{
	u64 dice;

	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], "SEED=", 5))
			seed = strtoull(argv[i] + 5, NULL, 0);
		else if (!strncmp(argv[i], "OPS=", 4))
			operations = strtoull(argv[i] + 4, NULL, 0);
		else
			read_path(argv[i]);
	signal(SIGABRT, on_abort);
	__sanitizer_set_death_callback(keep_input);
	for (unsigned i = 0; i < nr_files; i++)
		run_input(files[i].data, files[i].bytes);
	for (dice = seed; fuzz_operations < operations;)
		run_random(&dice);
	fprintf(stderr, "inputs: %lu\n", inputs);
	return 0;
}
