# The machine of this lab; seed.mk says whose it is. gdb stops it when all is there.
include labs/0-walk/seed.mk
CPUS ?= 1
MEM ?= 64M
BREAK ?= lab_ready
override GDBFLAGS += -ex continue
export CPUS MEM BREAK
LAB_MACHINE := labs/0-walk/machine.c
# Not a part of LAB_LDFLAGS: those are in build/FLAGS, and whoever goes from lab to lab would compile all anew.
tessera_ldflags := $(patsubst %,--wrap=%,explain_walk explain_fault show_map show_areas show_vmallocinfo)
tessera-check_ldflags := $(tessera_ldflags)
