/*
 * sanitize.h - what the compilers' instrumentation calls. Nobody else does: see ubsan.c, kasan.c.
 */
#pragma once

#include <kernel/types.h>

struct typed;
struct mismatch;
struct argument;
struct builtin;
struct assumption;
struct location;

void __ubsan_handle_add_overflow(struct typed *data, u64 left, u64 right);
void __ubsan_handle_sub_overflow(struct typed *data, u64 left, u64 right);
void __ubsan_handle_mul_overflow(struct typed *data, u64 left, u64 right);
void __ubsan_handle_negate_overflow(struct typed *data, u64 value);
void __ubsan_handle_divrem_overflow(struct typed *data, u64 left, u64 right);
void __ubsan_handle_shift_out_of_bounds(struct typed *data, u64 left, u64 right);
void __ubsan_handle_type_mismatch_v1(struct mismatch *data, u64 p);
void __ubsan_handle_out_of_bounds(struct typed *data, u64 index);
void __ubsan_handle_pointer_overflow(struct location *at, u64 base, u64 result);
void __ubsan_handle_alignment_assumption(struct assumption *data, u64 p, u64 align, u64 offset);
void __ubsan_handle_vla_bound_not_positive(struct typed *data, u64 bound);
void __ubsan_handle_load_invalid_value(struct typed *data, u64 value);
void __ubsan_handle_nonnull_arg(struct argument *data);
void __ubsan_handle_nonnull_return_v1(struct location *attribute, struct location *at);
void __ubsan_handle_invalid_builtin(struct builtin *data);
void __ubsan_handle_builtin_unreachable(struct location *at);
void __ubsan_handle_missing_return(struct location *at);

struct global;

#define ASAN_CALLS(size)                                 \
	void __asan_load##size##_noabort(const void *p); \
	void __asan_store##size##_noabort(const void *p);
ASAN_CALLS(1)
ASAN_CALLS(2)
ASAN_CALLS(4)
ASAN_CALLS(8)
ASAN_CALLS(16)
void __asan_loadN_noabort(const void *p, size_t bytes);
void __asan_storeN_noabort(const void *p, size_t bytes);
void __asan_handle_no_return(void);
void __asan_poison_stack_memory(const void *p, size_t bytes);
void __asan_unpoison_stack_memory(const void *p, size_t bytes);
void __asan_register_globals(struct global *all, size_t nr);
void __asan_unregister_globals(struct global *all, size_t nr);
void *kasan_memset(void *dst, int byte, size_t bytes);
void *kasan_memcpy(void *dst, const void *src, size_t bytes);
void *kasan_memmove(void *dst, const void *src, size_t bytes);
