/*
 * monitor.h - the prompt, and how a command comes to be known to it.
 *
 *	COMMAND(walk, "VA", "the page walk to an address", (explain_walk(n[0]), 0));
 *
 * The last argument is an expression: 0, or not if it failed and printed why. It may use
 *
 *	unsigned nr		how many arguments there are; args has been checked
 *	const u64 *n		their values: of those in capitals in args, SIZE or hexadecimal
 *	char *const *text	the arguments as they were typed
 *
 * The linker collects the commands (as in LK): there is no list to keep.
 */
#pragma once

#include <kernel/types.h>

struct command {
	const char *name;
	const char *args; /* one word each: "VA [SIZE]", "PA...": [] may be left out, ... repeated */
	const char *help;
	int (*run)(unsigned nr, const u64 *n, char *const *text);
};

#define COMMAND(name_, args_, help_, result_)                                                \
	static int cmd_##name_(unsigned nr, const u64 *n, char *const *text)                 \
	{                                                                                    \
		(void)nr, (void)n, (void)text;                                               \
		return (result_);                                                            \
	}                                                                                    \
	static const struct command command_##name_                                          \
		__attribute__((used, section("commands"), aligned(8))) = {                   \
			.name = #name_, .args = (args_), .help = (help_), .run = cmd_##name_ \
		}

/* All of them; the linker says where. */
extern const struct command __start_commands[], __stop_commands[];

/* Read and run lines until `exit` (words.exit is set) or `reboot`. */
void monitor(void);

/*
 * Run one line; what the prompt does. Its result, or -1 if there is no such command, or not with
 * these arguments. line is changed.
 */
int monitor_run(char *line);
