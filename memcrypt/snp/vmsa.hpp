// SPDX-License-Identifier: Apache-2.0
// The state of a vCPU as a page: the save area of SEV-ES and SEV-SNP (AMD APM vol. 2, appendix B,
// table B-4). Fields that are zero at every launch are left out between the offsets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "memcrypt/address.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::memcrypt::snp {

namespace wire {
template <std::size_t Size>
using Unused = std::array<std::byte, Size>;

struct Segment {
    Le<std::uint16_t> selector;
    Le<std::uint16_t> attributes;  ///< of the descriptor: bits 40-47, then bits 52-55
    Le<std::uint32_t> limit;
    Le<std::uint64_t> base;
};
static_assert(sizeof(Segment) == 16);

/// A whole page; all zero by default.
struct Vmsa {
    Segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    Unused<0x30> unused_0a0{};
    Le<std::uint64_t> efer;  // 0x0d0
    Unused<0x70> unused_0d8{};
    Le<std::uint64_t> cr4, cr3, cr0;  // 0x148
    Le<std::uint64_t> dr7, dr6;       // 0x160
    Le<std::uint64_t> rflags, rip;    // 0x170
    Unused<0xe8> unused_180{};
    Le<std::uint64_t> g_pat;  // 0x268
    Unused<0xa0> unused_270{};
    Le<std::uint64_t> rdx, rbx;  // 0x310
    Unused<0x10> unused_320{};
    Le<std::uint64_t> rsi;  // 0x330
    Unused<0x78> unused_338{};
    Le<std::uint64_t> sev_features;  // 0x3b0
    Unused<0x30> unused_3b8{};
    Le<std::uint64_t> xcr0;  // 0x3e8
    Unused<0x18> unused_3f0{};
    Le<std::uint32_t> mxcsr;  // 0x408
    Unused<0x4> unused_40c{};
    Le<std::uint16_t> x87_fcw;  // 0x410
    Unused<0xbee> unused_412{};
};
static_assert(sizeof(Vmsa) == kPageSize && alignof(Vmsa) == 1);
static_assert(std::is_trivially_copyable_v<Vmsa> && std::is_standard_layout_v<Vmsa>);
static_assert(offsetof(Vmsa, tr) == 0x90 && offsetof(Vmsa, efer) == 0xd0 && offsetof(Vmsa, cr4) == 0x148);
static_assert(offsetof(Vmsa, cr0) == 0x158 && offsetof(Vmsa, rip) == 0x178 && offsetof(Vmsa, g_pat) == 0x268);
static_assert(offsetof(Vmsa, rdx) == 0x310 && offsetof(Vmsa, rsi) == 0x330 &&
              offsetof(Vmsa, sev_features) == 0x3b0);
static_assert(offsetof(Vmsa, xcr0) == 0x3e8 && offsetof(Vmsa, mxcsr) == 0x408 &&
              offsetof(Vmsa, x87_fcw) == 0x410);
}  // namespace wire

/// What reset leaves in every x86 processor (AMD APM vol. 2, "Initial Processor State"), but for the control
/// registers and RDX, which differ between machines.
[[nodiscard]] constexpr wire::Vmsa reset_state() noexcept {
    constexpr std::uint32_t kLimit = 0xffff;
    constexpr wire::Segment data{.selector = {}, .attributes = 0x93, .limit = kLimit, .base = {}};
    wire::Vmsa state;
    state.es = state.ss = state.ds = state.fs = state.gs = data;
    state.cs = {.selector = 0xf000, .attributes = 0x9b, .limit = kLimit, .base = 0xffff0000};
    state.gdtr.limit = state.idtr.limit = kLimit;
    state.ldtr = {.selector = {}, .attributes = 0x82, .limit = kLimit, .base = {}};
    state.tr = {.selector = {}, .attributes = 0x8b, .limit = kLimit, .base = {}};
    state.dr7 = 0x400;
    state.dr6 = 0xffff0ff0;
    state.rflags = 2;
    state.rip = 0xfff0;
    state.g_pat = 0x0007040600070406;
    state.xcr0 = 1;
    state.mxcsr = 0x1f80;
    state.x87_fcw = 0x37f;
    return state;
}

}  // namespace holdfast::memcrypt::snp
