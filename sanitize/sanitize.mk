# Kernels whose compiler checks them as they run; see docs/sanitizers.md. All are checking builds.
#
# Each takes the kernel's sources, its runtime from here, and the tests of what it must catch. The
# runtimes are not checked themselves.

UBSAN_FLAGS := -fsanitize=undefined
tessera-ubsan_sources := sanitize/ubsan.c sanitize/ubsan_test.c
tessera-ubsan_flags = $(if $(filter sanitize/ubsan.c,$<),,$(UBSAN_FLAGS))
$(eval $(call kernel,tessera-ubsan,1))

# KASAN. The compiler's parameters: a call for each access, so that our functions decide what has a
# shadow; red zones on stacks and between global variables, which are also those of leaving a block.
KASAN_FLAGS := -fsanitize=kernel-address -fasan-shadow-offset=0xdffffc0000000000 \
	--param asan-instrumentation-with-call-threshold=0 --param asan-stack=1 \
	--param asan-globals=1 -fsanitize-address-use-after-scope
KASAN_RUNTIME := $(wildcard sanitize/kasan*.c)
KASAN_RUNTIME := $(filter-out %_test.c,$(KASAN_RUNTIME))
# Not checked: the allocators themselves, which write into what is free; what comes before all else
# after an exception, or reads whatever is on a stack.
KASAN_BARE := $(KASAN_RUNTIME) mm/kmalloc.c mm/page_alloc.c arch/x86_64/traps.c arch/x86_64/cpu.c \
	tests/mm/slab_test.c
# Checked, but they may fill and copy what is not handed out yet; string.c is the copying itself.
KASAN_FILLERS := mm/vmalloc.c mm/vmap.c kernel/string.c

kasan_flags = $(if $(filter $(KASAN_BARE),$(1)),,$(if $(filter mm/slab.c,$(1)),\
	-Isanitize/allocators,$(KASAN_FLAGS) -Isanitize/include \
	$(if $(filter $(KASAN_FILLERS),$(1)),,-Isanitize/checked)))
# These tests count objects and slabs exactly: they ask slab.c itself, below red zones and quarantine.
KASAN_BELOW := tests/mm/slab_test.c tests/mm/page_alloc_test.c
KASAN_SLAB := kmem_cache_create kmem_cache_destroy kmem_cache_alloc kmem_cache_free kmem_cache_size \
	kmem_cache_shrink_all kmem_cache_stats kfree ksize krealloc
KASAN_WRAPPED := boot_main enter_la57 mmu_set_root page_alloc_init panic_caught alloc_pages_bulk \
	free_pages_bulk $(KASAN_SLAB) vmalloc \
	__vmalloc __vmalloc_range vrealloc vmap vmap_put_pages vmap_pfn ioremap_prot \
	alloc_kernel_stack vfree vunmap iounmap free_kernel_stack vmarea_free pt_count_tables
tessera-kasan_sources := $(KASAN_RUNTIME) $(wildcard sanitize/kasan_test.c)
tessera-kasan_flags = -Isanitize/stacks $(call kasan_flags,$<) \
	$(if $(filter $(KASAN_BELOW),$<),$(foreach call,$(KASAN_SLAB),-D$(call)=__real_$(call)))
tessera-kasan_ldflags := $(KASAN_WRAPPED:%=--wrap=%)
$(eval $(call kernel,tessera-kasan,1))

$(tessera-ubsan_objects) $(tessera-kasan_objects): sanitize/sanitize.mk
-include $(foreach kernel,tessera-ubsan tessera-kasan,\
	$(patsubst %,build/obj/$(kernel)/%.d,$(KERNEL_SOURCES) $($(kernel)_sources)))

.PHONY: sanitize
sanitize: build/tessera-ubsan.elf build/tessera-kasan.elf build/tessera.elf ## all tests inside kernels under KASAN and under UBSan
	$(Q)tools/test sanitizers
