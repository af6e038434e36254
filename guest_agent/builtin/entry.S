// SPDX-License-Identifier: Apache-2.0
// From the loader to ring 3 in as few ring-0 instructions as possible, because some KVMs emulate
// ring 0. All tables are filled at link time. Entries: PVH (Xen's boot ABI, 32-bit, paging off,
// EBX = start info), flat (64-bit, low memory mapped, RSI = start info), and start-up IPI.
// Left out: interrupts (ring 3 polls with IF clear) and system calls.

#define CS32 0x08
#define CS64 0x10
#define DS 0x18
#define USER_SS 0x2b
#define USER_CS 0x33
#define TSS 0x40

#define CR0 0x80000033          // PG, NE, ET, MP, PE
#define CR4 0x620               // OSXMMEXCPT, OSFXSR, PAE
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define RFLAGS 0x0002           // interrupts stay off; ports are opened by the TSS, because a KVM that
                                // runs ring 3 with real flags of its own (PVM) loses the IOPL
#define XEN_ELFNOTE_PHYS32_ENTRY 18

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_entry

    .text
    .code32
    .globl pvh_entry
pvh_entry:
    lgdt gdt_pointer
    movl $boot_frame, %ebp
long_mode:                      // EBP = frame for iretq, EBX = start info
    movl $CR4, %eax
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    movl $EFER_LME, %eax
    xorl %edx, %edx
    wrmsr
    movl $CR0, %eax
    movl %eax, %cr0
    ljmp $CS64, $drop

    .code64
    .globl flat_entry
flat_entry:
    lgdt gdt_pointer
    movl $boot_frame, %ebp
    movl %esi, %ebx
    movl $CR4, %eax
    movq %rax, %cr4
    movl $pml4, %eax
    movq %rax, %cr3
    movl $CR0, %eax
    movq %rax, %cr0
drop:
    lidt idt_pointer
    movb $0x89, gdt + TSS + 5   // not busy: all processors share the TSS, for its one ring-0 stack
    movl $TSS, %eax
    ltr %ax
    movl %ebx, %edi
    movl %ebp, %esp
    iretq

// Copied to a page below 1 MiB, the only place a start-up IPI can point at.
    .section .rodata.ap, "a"
    .globl ap_trampoline, ap_trampoline_end
    .code16
ap_trampoline:
    cli
    movw %cs, %ax
    movw %ax, %ds
    lgdtl gdt_pointer_low - ap_trampoline
    movl $1, %eax
    movl %eax, %cr0
    ljmpl $CS32, $ap_entry
    .balign 4
gdt_pointer_low:
    .word gdt_end - gdt - 1
    .long gdt
ap_trampoline_end:

    .text
    .code32
ap_entry:
    movl $ap_frame, %ebp
    movl $DS, %eax
    movl %eax, %ds
    jmp long_mode

// Exceptions: collect the facts and report them from ring 3. The one exception that is a request:
// HLT at ring3_halt stops this processor for good.
    .section .vectors, "ax"
    .code64
    .globl vectors
vectors:
    .set n, 0
    .rept 32
    .balign 16
    .if (n == 8) || ((n >= 10) && (n <= 14)) || (n == 17) || (n == 21) || (n == 29) || (n == 30)
    .else
    pushq $0
    .endif
    pushq $n
    jmp trap
    .set n, n + 1
    .endr
trap:
    popq %rdi                   // vector
    popq %rsi                   // error code
    popq %rdx                   // rip
    cmpq $ring3_halt, %rdx
    je 1f
    movq %cr2, %rcx
    movl $trap_frame, %esp
    iretq
1:  cli
    hlt
    jmp 1b

    .text
    .globl ring3_halt
ring3_halt:
    hlt

    .data
    .balign 4096
pml4:
    .quad pdpt + 0x27           // accessed, user, writable, present
    .fill 511, 8, 0
    .globl pdpt
pdpt:                           // 512 GiB, of which ring 3 adds what it finds to be in use
    .set n, 0
    .rept 4
    .quad pd + (n << 12) + 0x27
    .set n, n + 1
    .endr
    .fill 508, 8, 0
pd:                             // 4 GiB in pages of 2 MiB; dirty, accessed, user, writable
    .set n, 0                   // (1 GiB pages do not exist where KVM shadows page tables)
    .rept 2048
    .quad (n << 21) + 0xe7
    .set n, n + 1
    .endr
    .globl gdt
gdt:                            // the selectors Linux uses
    .quad 0
    .quad 0x00cf9b000000ffff    // 08 32-bit code
    .quad 0x00af9b000000ffff    // 10 64-bit code
    .quad 0x00cf93000000ffff    // 18 data
    .quad 0x00cffb000000ffff    // 20 32-bit user code
    .quad 0x00cff3000000ffff    // 28 user data
    .quad 0x00affb000000ffff    // 30 64-bit user code
    .quad 0
    .word tss_end - tss - 1, tss_bits_0_15  // 40 TSS
    .byte tss_bits_16_23, 0x89, 0, 0
    .quad 0
gdt_end:
idt:
    .set n, 0
    .rept 32
    .word n * 16, CS64, 0x8e00, 0x10
    .quad 0
    .set n, n + 1
    .endr
idt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
idt_pointer:
    .word idt_end - idt - 1
    .quad idt
    .balign 16
    .globl tss
tss:
    .long 0
    .quad ring0_stack_top
    .fill 90, 1, 0
    .word 104                   // the I/O permission bitmap follows: every port is allowed
    .fill 8192, 1, 0
    .byte 0xff
tss_end:
    .balign 8

// What iretq pops: RIP, CS, RFLAGS, RSP, SS. Functions expect RSP 8 below a multiple of 16.
boot_frame: .quad guest_main, USER_CS, RFLAGS, boot_stack_top - 8, USER_SS
trap_frame: .quad trap_report, USER_CS, RFLAGS, trap_stack_top - 8, USER_SS
    .globl ap_frame
ap_frame:   .quad ap_main, USER_CS, RFLAGS, 0, USER_SS

    .bss
    .balign 16
    .skip 512
ring0_stack_top:
    .skip 4096
trap_stack_top:
    .skip 16384
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
