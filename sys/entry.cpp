// SPDX-License-Identifier: Apache-2.0
// Where the static programs begin, before the C library does. A position-independent program first writes
// each pointer in its read-only data (libcrypto's tables: 370 KB of them), and each of those pages is a fault
// that copies it. This asks the kernel for all the copies at once. A kernel before 5.14 does not know the
// request; then nothing is changed, and the faults come as they always did.
//
// x86_64 only, as the programs are.
#include <linux/mman.h>
#include <sys/syscall.h>

#define HF_TEXT_OF(number) #number
#define HF_TEXT(number) HF_TEXT_OF(number)

// SAFETY: nothing is relocated yet, so it reads no memory and finds its addresses relative to itself. The
// range lies in our own writable, private segment: from the first page that RELRO covers to the end of .data.
// What the kernel left in registers and on the stack for _start (rdx, rsp) is as it was.
asm(R"(
    .pushsection .text.holdfast_entry, "ax", @progbits
    .globl holdfast_entry
    .hidden holdfast_entry
    .type holdfast_entry, @function
holdfast_entry:
    mov %rdx, %r8
    lea __init_array_start(%rip), %rdi
    and $-4096, %rdi
    lea _edata(%rip), %rsi
    sub %rdi, %rsi
    mov $)" HF_TEXT(MADV_POPULATE_WRITE) R"(, %edx
    mov $)" HF_TEXT(__NR_madvise) R"(, %eax
    syscall
    mov %r8, %rdx
    jmp _start
    .size holdfast_entry, . - holdfast_entry
    .popsection
)");
