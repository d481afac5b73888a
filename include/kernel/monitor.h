/*
 * monitor.h - the prompt, and how a command comes to be known to it.
 *
 *	COMMAND(walk, "VA", "the page walk to an address", explain_walk(n[0]));
 *
 * The last argument is what it does: statements, which may use
 *	unsigned nr		how many arguments there are; args has been checked
 *	const u64 *n		their values: of those in capitals in args, SIZE or hexadecimal
 *	char *const *text	the arguments as they were typed
 *	u64 failed		set it to anything but 0 to make the run fail
 * The linker collects the commands and sorts them by name (as in LK): there is no list to keep.
 */
#pragma once

#include <kernel/types.h>

#define LENGTH_MAX 70 /* a line is shorter: it fits on the screen behind the prompt */
#define ARGS_MAX (LENGTH_MAX / 2)

struct command {
	const char *name, *args; /* args: "VA [SIZE]", "PA...": [] may be left out, ... repeated */
	const char *help;
	u64 (*run)(unsigned nr, const u64 *n, char *const *text);
};

#define COMMAND(name_, args_, help_, ...)                                    \
	static u64 cmd_##name_(unsigned nr, const u64 *n, char *const *text) \
	{                                                                    \
		u64 failed = 0;                                              \
                                                                             \
		(void)nr, (void)n, (void)text;                               \
		__VA_ARGS__;                                                 \
		return failed;                                               \
	}                                                                    \
	static const struct command command_##name_                          \
		__attribute__((used, section("commands." #name_),            \
			       aligned(8))) = { #name_, args_, help_, cmd_##name_ }

extern const struct command __start_commands[], __stop_commands[]; /* all; from the linker */

void monitor(void); /* read and run lines until `exit` (words.exit is set) or `reboot` */

/* Run one line, as at the prompt; it is cut up. False, and why, if it is wrong or failed. */
bool monitor_run(char *line);
