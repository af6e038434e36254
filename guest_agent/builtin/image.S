// SPDX-License-Identifier: Apache-2.0
// The built-in guest's ELF file, embedded. The path comes from the build.
    .section .rodata.builtin_image, "a"
    .balign 16
    .globl holdfast_builtin_image_start, holdfast_builtin_image_end
holdfast_builtin_image_start:
    .incbin BUILTIN_ELF
holdfast_builtin_image_end:
    .section .note.GNU-stack, "", @progbits
