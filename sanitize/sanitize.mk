# Kernels whose compiler checks them as they run; see docs/sanitizers.md. All are checking builds.
#
# Each takes the kernel's sources, its runtime from here, and the tests of what it must catch.

UBSAN_FLAGS := -fsanitize=undefined
tessera-ubsan_sources := sanitize/ubsan.c sanitize/ubsan_test.c
tessera-ubsan_flags = $(if $(filter sanitize/ubsan.c,$<),,$(UBSAN_FLAGS))
$(eval $(call kernel,tessera-ubsan,1))

-include $(patsubst %,build/obj/tessera-ubsan/%.d,$(KERNEL_SOURCES) $(tessera-ubsan_sources))

.PHONY: sanitize
sanitize: build/tessera-ubsan.elf build/tessera.elf ## all tests inside kernels under KASAN and under UBSan
	$(Q)tools/test sanitizers
