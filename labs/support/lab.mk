# What the tree of a lab has beyond Tessera's own. The Makefile includes it where there is a lab.toml.
#
# The kernel that checks itself is the one to learn with; it boots at once, and straight to the prompt.
include $(wildcard labs/[0-9]*/lab.mk)
include labs/support/this_lab.mk

# What needs files that only Tessera's own tree has; `make help` does not list it.
NOT_HERE := lab gradescope labs-count labs-check mutants coverage test-all
$(foreach goal,$(filter $(NOT_HERE),$(MAKECMDGOALS)),\
	$(error make $(goal) works in Tessera's own tree only, not in that of a lab; `make help` lists what works here))

CHECK ?= 1
BOOT ?= direct
APPEND ?=
export BOOT

# A stub leaves helpers without a caller and variables without a user, which is no mistake here.
LAB_CFLAGS := -include labs/support/lab.h $(LAB_INCLUDE) -Wno-unused-function -Wno-unused-variable
LAB_SOURCES := labs/support/lab.c $(wildcard labs/*/*_test.c)
LAB_PROMPT := labs/support/prompt.c $(LAB_MACHINE)
LAB_WRAPPED := panic_caught report_trap lock_taken lock_released cpu_serve mm_init
LAB_HOST_LDFLAGS := $(LAB_WRAPPED:%=-Wl,--wrap=%)
# Where free memory begins, so that what a mistake destroys does not hang on how large the kernel is today: linker.ld.
FREE_FROM := 0x300000
LAB_LDFLAGS := --defsym=FREE_FROM=$(FREE_FROM) $(patsubst %,--wrap=%,$(LAB_WRAPPED) kernel_main mm_check monitor monitor_run)

# In the files that are written here functions stay what they are: none vanishes in its caller, so that each is in a
# backtrace and gdb can stop in it. Those that are declared inline may vanish. Another lab has other files.
LAB_PLAIN ?= -fno-optimize-sibling-calls -fno-inline-functions $(if $(findstring clang,$(CC)),,\
	-fno-inline-functions-called-once -fno-inline-small-functions -fno-partial-inlining -fno-ipa-cp -fno-ipa-sra)
.DEFAULT_GOAL := all
LAB_OBJECTS := $(LAB_FILES:%=build/obj/tessera-check/%.o)
$(LAB_OBJECTS): KERNEL_CFLAGS += $(LAB_PLAIN)
$(patsubst %,build/obj/tessera-check/%.o,$(wildcard mm/*.c)): labs/support/this_lab.mk
