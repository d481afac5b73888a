# Tessera: every command. `make help` lists them.
#
# All products go to build/. Two kernels are made from the same sources: tessera.elf, and
# tessera-check.elf, which checks itself at every step (CHECKING). mm/ also becomes an ordinary
# program, build/host-tests. Nothing is looked up while this file is read, so that it can be read on
# a machine where nothing is installed yet: tools/deps changes that before anything is built.

# In a student's tree, see labs/support.
ifneq ($(wildcard lab.toml),)
include labs/support/lab.mk
endif

APPEND ?= tour
export APPEND
# The rest of the variables is tools/run's affair; make passes on what stands on its command line.

CHECK ?= 0
KASAN ?= 0
UBSAN ?= 0
V ?= 0
WERROR ?= 0
on = $(filter-out 0,$(1))
$(foreach name,CHECK KASAN UBSAN V WERROR LEAN,$(if $(filter-out 0 1,$($(name)))$(word 2,$($(name))),\
	$(error $(name)=$($(name)): $(name) must be 0 or 1)))

ifneq ($(filter gdb gdb-server,$(MAKECMDGOALS)),)
BOOT ?= direct
export BOOT
endif
SANITIZED := $(if $(call on,$(KASAN)),-kasan,$(if $(call on,$(UBSAN)),-ubsan))
KERNEL ?= build/tessera$(or $(SANITIZED),$(if $(call on,$(CHECK)),-check)).elf
CHECKED := $(if $(SANITIZED),$(KERNEL),build/tessera-check.elf)
ISO ?= $(KERNEL:.elf=.iso)
IMAGE := $(if $(filter direct,$(BOOT)),$(KERNEL),$(ISO))
export KERNEL ISO

Q := $(if $(call on,$(V)),,@)
say = $(if $(Q),@printf '  %-8s %s\n' $(1) $@)

# A cross prefix is looked for only where plain gcc and ld make no ELF files for x86_64.
ifneq ($(shell uname -sm),Linux x86_64)
CROSS_COMPILE ?= $(firstword $(foreach prefix,x86_64-linux-gnu- x86_64-elf-,\
	$(if $(shell command -v $(prefix)ld),$(prefix))) x86_64-linux-gnu-)
endif
ifeq ($(origin CC),default)
CC := $(CROSS_COMPILE)gcc
HOSTCC ?= gcc
endif
HOSTCC ?= $(CC)
ifeq ($(origin LD),default)
LD := $(CROSS_COMPILE)ld
endif
NM ?= $(CROSS_COMPILE)nm
OBJCOPY ?= $(CROSS_COMPILE)objcopy
export CC

COMMON_CFLAGS := -std=gnu11 -g -fno-omit-frame-pointer -fno-strict-aliasing \
	-ffile-prefix-map=$(CURDIR)=. -Wall -Wextra -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wundef -Wimplicit-fallthrough -Wwrite-strings -Wformat=2 \
	$(if $(call on,$(WERROR)),-Werror) $(LAB_CFLAGS)
KERNEL_CFLAGS := $(if $(findstring clang,$(CC)),--target=x86_64-linux-gnu) $(COMMON_CFLAGS) -O2 \
	-ffreestanding -fno-stack-protector -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone \
	-mgeneral-regs-only -fcf-protection=none -fno-asynchronous-unwind-tables \
	-Iarch/x86_64 -Iinclude $(EXTRA_CFLAGS)
KERNEL_LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
	--fatal-warnings $(LAB_LDFLAGS) -T linker.ld $(EXTRA_LDFLAGS)
HOST_CFLAGS := $(COMMON_CFLAGS) -O1 -DCHECKING=1 -fno-builtin -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined -Iarch/sim -Iarch/x86_64 -Iinclude $(EXTRA_CFLAGS)
HOST_LDFLAGS := $(LAB_HOST_LDFLAGS)

# What only gcc knows: also the last array of a struct has bounds.
HOST_STRICT := $(if $(findstring clang,$(HOSTCC)),,-fsanitize=bounds-strict)

KERNEL_SOURCES := $(sort $(wildcard boot/*.[cS] arch/x86_64/*.[cS] mm/*.c kernel/*.c bench/*.c \
	tests/*.c tests/mm/*.c) $(LAB_SOURCES) $(LAB_PROMPT) $(EXTRA_SOURCES))
# On the host, the parts that know no machine; arch/sim and tests/host stand in for the rest.
HOST_SOURCES := $(sort $(wildcard mm/*.c arch/sim/*.c tests/*.c tests/mm/*.c tests/host/*.c) \
	boot/bootinfo.c $(LAB_SOURCES) \
	$(addprefix kernel/,panic.c printk.c record.c smp.c words.c))
FUZZ_SOURCES := $(sort $(filter-out tests/% %_test.c,$(HOST_SOURCES)) kernel/monitor.c \
	tests/inject.c $(wildcard tests/fuzz/*.c))
OUR_C := $(sort $(wildcard $(foreach dir,boot arch/x86_64 arch/x86_64/asm arch/sim arch/sim/asm mm \
	kernel include/arch include/kernel include/mm tests tests/mm tests/grade tests/host tests/fuzz \
	tests/coverage bench bench/linux labs/support $(wildcard labs/*-*) sanitize \
	$(addprefix sanitize/,include/mm allocators/mm checked/kernel stacks/arch),\
	$(dir)/*.[ch])))
OUR_SHELL := tools/deps bench/linux/run .ci/run

.PHONY: all
all: build/tessera.elf build/tessera-check.elf $(KERNEL) compile_commands.json ## build both kernels
all: build/tessera.elf-gdb.py build/tessera-check.elf-gdb.py

.PHONY: run
run: $(IMAGE) compile_commands.json ## boot in QEMU: the tour, then the monitor
	$(Q)tools/run

.PHONY: test
test: all iso build/host-tests build/fuzz-random ## everything that a change must pass; the last line counts
	$(Q)tools/test

.PHONY: host-test
host-test: build/host-tests ## only the tests of mm/ as an ordinary program, under ASan and UBSan
	$(Q)tools/test host

.PHONY: kernel-test
kernel-test: $(CHECKED) ## only the tests inside the kernel, in QEMU; TEST=pattern KASAN=1 UBSAN=1
	$(Q)BOOT=direct KERNEL=$< APPEND="test=$(TEST) exit" tools/run

.PHONY: fuzz
fuzz: build/fuzz ## mm/ and the parsers against models, by libFuzzer; TIME=60 in all, TARGET=name
	$(Q)tools/fuzz

.PHONY: spin
spin: tools-are-here ## all interleavings of a flush and of a double free, as small models; refutes wrong ones
	$(Q)tests/spin/run

.PHONY: test-all
test-all: tools-are-here all iso build/host-tests build/fuzz-random build/fuzz build/tessera-ubsan.elf build/tessera-kasan.elf
test-all: ## everything there is, group by group; GROUPS="fuzz bench": only these
	$(Q)tools/test-all $(GROUPS)

.PHONY: mutants
mutants: tools-are-here ## bugs planted one by one: would the tests notice? GROUP=own|machine
	$(Q)tests/mutants/run $(or $(GROUP),own)

.PHONY: coverage
coverage: tools-are-here ## which lines and branches of mm/ the tests reach: build/coverage/html/index.html
	$(Q)tests/coverage/run

.PHONY: bench
bench: build/tessera.elf ## instructions that each call costs; also in build/run/records.jsonl
	$(Q)BOOT=direct CPUS=1 KERNEL=$< APPEND="bench exit" QEMUFLAGS="-icount shift=0,sleep=off" \
		tools/run
	$(Q)bench/check.py $${RUNDIR:-build/run}/records.jsonl

.PHONY: bench-linux
bench-linux: build/tessera.elf ## the same work on Debian's Linux, side by side; LEAN=1: a lean one, too
	$(Q)bench/compare.py

.PHONY: bench-smp
bench-smp: build/tessera.elf ## how much 1, 2 and 4 CPUs do at once, here and on Linux, by the clock
	$(Q)bench/smp.py

.PHONY: machines
machines: build/tessera.elf build/tessera.iso ## boot on some hundred different machines; writes docs/machines.md; CELLS=part-of-a-name
	$(Q)/usr/bin/python3 -B tests/machines/machines.py $(CELLS)

# gdb with our commands, as far as it is the same for all; its file is not rebuilt for a core.
START_GDB = gdb -q -iex 'add-auto-load-safe-path build' $(KERNEL) -x tools/gdb/tessera-gdb.py -ex
.PHONY: gdb
gdb: $(IMAGE) $(filter build/%,$(KERNEL)-gdb.py) ## gdb on a machine stopped at its first instruction; BREAK=vmalloc GDBFLAGS="-x file"
	$(Q)$(START_GDB) 'python tessera.session.start()' $(GDBFLAGS)

.PHONY: gdb-server
gdb-server: $(IMAGE) $(filter build/%,$(KERNEL)-gdb.py) ## the same for another front end: says how to connect; PORT=1234
	$(Q)GDB=server tools/run

.PHONY: core
core: tools-are-here $(filter build/%,$(KERNEL)-gdb.py) ## gdb on build/run/core, which make run CORE=1 leaves
	$(Q)$(START_GDB) 'python tessera.session.start_core()' $(GDBFLAGS)

.PHONY: docs-gdb
docs-gdb: build/tessera.elf build/tessera.elf-gdb.py ## type what docs/gdb.md types, and write gdb's answers into it
	$(Q)tests/gdb/guide.py

.PHONY: iso
iso: build/tessera.iso build/tessera-check.iso ## bootable discs, for BIOS and UEFI

.PHONY: lab
lab: tools-are-here ## write a student's tree: LAB=n OUT=folder, KEEP=folder of an earlier lab, SEED=login for lab 0
	$(Q)LAB='$(LAB)' OUT='$(OUT)' KEEP='$(KEEP)' SEED='$(SEED)' tools/lab

.PHONY: grade
grade: tools-are-here ## the points of a lab's tree, and hints for the rest; TEST=part, JSON= JUNIT= GRADESCOPE=file, LAB=n, JOBS=n, HOST=0
	$(Q)$(foreach name,LAB TEST HOST JOBS JSON JUNIT GRADESCOPE,$(name)='$($(name))') tools/grade

.PHONY: gradescope
gradescope: tools-are-here ## an autograder for Gradescope: LAB=n, OUT=file.zip
	$(Q)LAB='$(LAB)' OUT='$(OUT)' tools/labs/gradescope.py

.PHONY: labs-count
labs-count: tools-are-here ## how many instructions each test takes: labs/support/insns.json, for the grader's limits
	$(Q)tools/labs/count.py

.PHONY: labs-check
labs-check: tools-are-here ## prove the labs: starter, solution, each wrong solution; LAB=n, WRONG=name, JOBS=n, UPDATE=1
	$(Q)LAB='$(LAB)' WRONG='$(WRONG)' tools/labs/check.py

.PHONY: deps
deps: ## install what daily work needs (other targets install their own); NO_INSTALL=1 only names it
	$(Q)tools/deps

.PHONY: doctor
doctor: ## say what is here, what is missing, and what needs it
	$(Q)tools/deps doctor

.PHONY: format
format: ## lay out all C files as .clang-format says
	$(Q)clang-format -i $(OUR_C)

.PHONY: lint
lint: compile_commands.json ## check the layout of C files; look for mistakes in C and shell
	$(Q)clang-format --dry-run -Werror $(OUR_C)
	$(Q)shellcheck $(OUR_SHELL)
	$(Q)printf '%s\n' $(filter-out tests/%,$(filter %.c,$(KERNEL_SOURCES))) | \
		xargs -P 4 -n 2 clang-tidy --quiet -p . 2>/dev/null

.PHONY: clean
clean: ## remove all that was built
	$(Q)rm -rf build compile_commands.json

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST) \
		$(foreach goal,$(NOT_HERE),| grep -v '^make $(goal) ')
	@echo 'variables: MEM=256M CPUS=2 BOOT=iso|direct|uefi MACHINE=q35|pc|microvm LA57=0|1 CPU=...'
	@echo '  BREAK=function GDBFLAGS="..." PORT=number TUI=0|1 CORE=1 (leave build/run/core)'
	@echo '  ACCEL=tcg CHECK=1 KASAN=1 UBSAN=1 CC=clang V=1 LEAN=0|1 (is a lean Linux measured, too?)'
	@echo '  APPEND="words for the kernel", see docs/kernel-words.md; QEMUFLAGS="..." RUNDIR=folder TIMEOUT=seconds'

# Two files that change when a compiler or its flags do, and when files come or go: what was made
# with the old ones is then old. Where the tree lies is nothing that a product shows.
define FLAGS
$(CC) $(KERNEL_CFLAGS)
$(LD) $(KERNEL_LDFLAGS)
$(UBSAN_FLAGS) $(KASAN_FLAGS) $(tessera-kasan_ldflags)
$(HOSTCC) $(HOST_CFLAGS) $(HOST_STRICT) $(HOST_LDFLAGS)
endef
SOURCES := $(sort $(KERNEL_SOURCES) $(HOST_SOURCES) $(FUZZ_SOURCES))
export FLAGS SOURCES
build/FLAGS build/SOURCES: FORCE | tools-are-here
	@mkdir -p $(@D)
	@text=$$(echo "$$$(@F)" | sed 's|$(CURDIR)|.|g') && echo "$$text" | cmp -s - $@ || echo "$$text" >$@
.PHONY: FORCE
FORCE:

# All that is built needs the two files above, and so waits until what is missing is installed.
.PHONY: tools-are-here
tools-are-here:
	$(Q)tools/deps $(or $(MAKECMDGOALS),all)

# $(call kernel,NAME,CHECKING). Two links: the first has an empty table of function names, the
# second the names and addresses that nm finds in the first. Equal lists after both prove that no
# function moved. A kernel may have sources, flags of the compiler and of the linker of its own.
define kernel
$(1)_objects := $$(patsubst %,build/obj/$(1)/%.o,$$(KERNEL_SOURCES) $$($(1)_sources))
build/obj/$(1)/%.o: % build/FLAGS
	$$(call say,CC)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$($(1)_flags) $$(KERNEL_CFLAGS) -DCHECKING=$(2) -MMD -MP -c $$< -o $$@
build/obj/$(1)/symbols.0.S: tools/symbols build/FLAGS
	$$(Q)mkdir -p $$(@D)
	$$(Q)tools/symbols </dev/null >$$@
build/obj/$(1)/symbols.1.S: build/obj/$(1)/first.elf tools/symbols
	$$(Q)$$(NM) -n $$< | tools/symbols >$$@
build/obj/$(1)/symbols.%.o: build/obj/$(1)/symbols.%.S
	$$(Q)$$(CC) $$(KERNEL_CFLAGS) -c $$< -o $$@
build/obj/$(1)/first.elf: $$($(1)_objects) build/obj/$(1)/symbols.0.o linker.ld build/SOURCES
	$$(Q)$$(LD) $$(KERNEL_LDFLAGS) $$($(1)_ldflags) $$(filter %.o,$$^) -o $$@
build/$(1).elf: $$($(1)_objects) build/obj/$(1)/symbols.1.o linker.ld build/SOURCES
	$$(call say,LD)
	$$(Q)$$(LD) $$(KERNEL_LDFLAGS) $$($(1)_ldflags) $$(filter %.o,$$^) -o $$@.new
	$$(Q)$$(NM) -n $$@.new | tools/symbols | cmp - build/obj/$(1)/symbols.1.S || \
		{ echo '$$@: functions moved between its two links, so their names would be wrong'; exit 1; }
	$$(Q)mv $$@.new $$@
endef
$(eval $(call kernel,tessera,0))
tessera-check_sources := $(wildcard tests/grade/*.c)
$(eval $(call kernel,tessera-check,1))
include sanitize/sanitize.mk

# gdb reads it by itself together with the ELF of this name; it adds the commands of tools/gdb/tessera.
build/%.elf-gdb.py: tools/gdb/tessera-gdb.py
	$(Q)mkdir -p $(@D) && cp $< $@

# The same input gives the same bytes: all dates are 1980-01-01, and so is the FAT volume's number.
build/%.iso: build/%.elf boot/grub.cfg
	$(call say,ISO)
	$(Q)rm -rf build/obj/$*/iso && mkdir -p build/obj/$*/iso/boot/grub
	$(Q)cp boot/grub.cfg build/obj/$*/iso/boot/grub/
	$(Q)$(OBJCOPY) --strip-all $< build/obj/$*/iso/boot/tessera.elf
	$(Q)SOURCE_DATE_EPOCH=315532800 grub-mkrescue -o $@.new build/obj/$*/iso \
		--fonts= --themes= --locales= -- -volume_date all_file_dates =315532800 \
		-volume_date uuid 1980010100000000 >build/obj/$*/iso.log 2>&1 || \
		{ cat build/obj/$*/iso.log; exit 1; }
	$(Q)lba=$$(xorriso -indev $@.new -report_el_torito plain 2>/dev/null | \
		awk '/ UEFI / { print $$NF }') && mlabel -i $@.new@@$$((lba * 2048)) -N 19800101 ::
	$(Q)mv $@.new $@

build/obj/host/%.o: % build/FLAGS
	$(call say,HOSTCC)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) $(HOST_STRICT) -MMD -MP -c $< -o $@
build/host-tests: $(HOST_SOURCES:%=build/obj/host/%.o) build/SOURCES
	$(call say,HOSTLD)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) $(HOST_LDFLAGS) $(filter %.o,$^) -o $@

# The targets of tests/fuzz, once with our own dice and once under libFuzzer, which learns from what
# the parsers compare; in mm/ and the models that would take most of the time and teach little.
build/fuzz-random: $(FUZZ_SOURCES:%=build/obj/host/%.o) build/SOURCES
	$(call say,HOSTLD)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) $(HOST_LDFLAGS) $(filter %.o,$^) -o $@
build/obj/fuzz/%.o: % build/FLAGS
	$(call say,CLANG)
	$(Q)mkdir -p $(@D)
	$(Q)clang $(HOST_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@ \
		$(if $(filter kernel/% boot/%,$<),,-fno-sanitize-coverage=trace-cmp)
build/fuzz: $(patsubst %,build/obj/fuzz/%.o,$(filter-out %/random.c,$(FUZZ_SOURCES))) build/SOURCES
	$(call say,CLANGLD)
	$(Q)clang $(HOST_CFLAGS) -fsanitize=fuzzer $(HOST_LDFLAGS) $(filter %.o,$^) -o $@

# One entry a source, as https://clang.llvm.org/docs/JSONCompilationDatabase.html has it.
entry = {"directory":"$(CURDIR)","file":"$(1)","command":"$(2) -c $(1)"}
compile_commands.json: build/FLAGS build/SOURCES
	$(Q){ echo '['; printf ',%s\n' \
		$(foreach c,$(KERNEL_SOURCES),'$(call entry,$(c),$(CC) $(KERNEL_CFLAGS) -DCHECKING=0)') \
		$(foreach c,$(filter arch/sim/% tests/host/% tests/fuzz/%,$(sort $(HOST_SOURCES) $(FUZZ_SOURCES))),\
		'$(call entry,$(c),$(HOSTCC) $(HOST_CFLAGS))') | sed '1s/^,//'; echo ']'; } >$@

-include $(patsubst %,build/obj/tessera/%.d,$(KERNEL_SOURCES)) \
	$(patsubst %,build/obj/tessera-check/%.d,$(KERNEL_SOURCES)) \
	$(patsubst %,build/obj/host/%.d,$(sort $(HOST_SOURCES) $(FUZZ_SOURCES))) \
	$(patsubst %,build/obj/fuzz/%.d,$(FUZZ_SOURCES))
