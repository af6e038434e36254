// SPDX-License-Identifier: Apache-2.0
// The instructions and accesses C++ has no words for. Physical and virtual addresses are the same,
// and ring 3 may touch all of them, so an address is a plain 64-bit number here.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace holdfast::builtin {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr u64 kPage = 4096;
inline constexpr u64 kGib = u64{1} << 30;

// SAFETY (all of the assembly below): one instruction each, operands as in the manual; entry.S gave
// ring 3 every port and every page.

template <typename T>
inline void port_write(u16 port, T value) {
    static_assert(std::is_unsigned_v<T> && sizeof(T) <= 4);
    if constexpr (sizeof(T) == 1) asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
    if constexpr (sizeof(T) == 2) asm volatile("outw %0, %1" ::"a"(value), "Nd"(port));
    if constexpr (sizeof(T) == 4) asm volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

template <typename T>
inline T port_read(u16 port) {
    static_assert(std::is_unsigned_v<T> && sizeof(T) <= 4);
    T value;
    if constexpr (sizeof(T) == 1) asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    if constexpr (sizeof(T) == 2) asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    if constexpr (sizeof(T) == 4) asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/// Device registers: one plain MOV, which every KVM can emulate.
template <typename T>
inline T mmio_read(u64 address) {
    static_assert(std::is_unsigned_v<T>);
    T value;
    asm volatile("mov (%1), %0" : "=q"(value) : "r"(address) : "memory");
    return value;
}

template <typename T>
inline void mmio_write(u64 address, T value) {
    static_assert(std::is_unsigned_v<T>);
    asm volatile("mov %0, (%1)" ::"q"(value), "r"(address) : "memory");
}

/// RAM that somebody else filled in: copied, at any alignment.
template <typename T>
inline T load(u64 address) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof value);
    return value;
}

template <typename T>
inline T* pointer(u64 address) {
    return reinterpret_cast<T*>(address);
}

inline u64 address_of(const void* p) { return reinterpret_cast<u64>(p); }

struct CpuidLeaf {
    u32 eax, ebx, ecx, edx;
};

inline CpuidLeaf cpuid(u32 leaf, u32 subleaf = 0) {
    CpuidLeaf r{};
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

inline u64 cycles() {
    u32 low = 0;
    u32 high = 0;
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
    return u64{high} << 32 | low;
}

inline void pause() { asm volatile("pause" ::: "memory"); }

}  // namespace holdfast::builtin
