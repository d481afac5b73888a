/*
 * init.c - the only program of the Linux that is measured: load the module, tell QEMU, stop.
 *
 * The module's initialisation is the measurement, so it has ended when finit_module() returns. It
 * runs on CPU 0, with what stands behind bench= among the kernel's words as its parameter: words
 * that Linux does not know are its init's environment. QEMU hears how it went on the port of
 * isa-debug-exit, as from Tessera: 0x10 passed, 0x11 failed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_PORT 0xf4
#define CONSOLE_LEVEL 8 /* klogctl: which messages are shown; 7: all but debugging */

int main(void)
{
	int file = open("/tessera_bench.ko", O_RDONLY | O_CLOEXEC);
	const char *part = getenv("bench");
	char parameter[64];
	cpu_set_t cpu_0;
	long failed;

	CPU_ZERO(&cpu_0);
	CPU_SET(0, &cpu_0);
	sched_setaffinity(0, sizeof(cpu_0), &cpu_0);
	klogctl(CONSOLE_LEVEL, NULL, 7);
	snprintf(parameter, sizeof(parameter), "part=%s", part ? part : "");
	failed = syscall(SYS_finit_module, file, parameter, 0);
	if (failed)
		perror("init: /tessera_bench.ko");
	if (!ioperm(EXIT_PORT, 4, 1))
		outl(failed ? 0x11 : 0x10, EXIT_PORT);
	reboot(RB_POWER_OFF); /* not reached under QEMU */
	return 1;
}
