// SPDX-License-Identifier: Apache-2.0
// CPU signatures by the names of QEMU's CPU models: a vCPU starts with its signature in RDX.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace holdfast::memcrypt::snp {

/// CPUID Fn0000_0001_EAX for these numbers (AMD APM vol. 3, "Family, Model, Stepping Identifiers").
[[nodiscard]] constexpr std::uint32_t cpu_signature(std::uint32_t family, std::uint32_t model,
                                                    std::uint32_t stepping) noexcept {
    const std::uint32_t base = family < 0xf ? family : 0xf;
    return ((family - base) & 0xff) << 20 | (model >> 4 & 0xf) << 16 | base << 8 | (model & 0xf) << 4 |
           (stepping & 0xf);
}

struct CpuType {
    std::string_view name;
    std::uint32_t signature;
};
[[nodiscard]] std::span<const CpuType> cpu_types() noexcept;
[[nodiscard]] std::optional<std::uint32_t> find_cpu_type(std::string_view name) noexcept;

}  // namespace holdfast::memcrypt::snp
