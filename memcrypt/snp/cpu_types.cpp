// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/snp/cpu_types.hpp"

#include <algorithm>
#include <array>

namespace holdfast::memcrypt::snp {
namespace {

constexpr std::uint32_t kNaples = cpu_signature(23, 1, 2);
constexpr std::uint32_t kRome = cpu_signature(23, 49, 0);
constexpr std::uint32_t kMilan = cpu_signature(25, 1, 1);
constexpr std::uint32_t kGenoa = cpu_signature(25, 17, 0);
constexpr std::uint32_t kTurin = cpu_signature(26, 0, 0);
static_assert(kNaples == 0x800f12 && kRome == 0x830f10 && kMilan == 0xa00f11 && kGenoa == 0xa10f10);

constexpr std::array kTypes{
    CpuType{"EPYC", kNaples},         CpuType{"EPYC-v1", kNaples},    CpuType{"EPYC-v2", kNaples},
    CpuType{"EPYC-IBPB", kNaples},    CpuType{"EPYC-v3", kNaples},    CpuType{"EPYC-v4", kNaples},
    CpuType{"EPYC-Rome", kRome},      CpuType{"EPYC-Rome-v1", kRome}, CpuType{"EPYC-Rome-v2", kRome},
    CpuType{"EPYC-Rome-v3", kRome},   CpuType{"EPYC-Milan", kMilan},  CpuType{"EPYC-Milan-v1", kMilan},
    CpuType{"EPYC-Milan-v2", kMilan}, CpuType{"EPYC-Genoa", kGenoa},  CpuType{"EPYC-Genoa-v1", kGenoa},
    CpuType{"EPYC-Turin", kTurin},
};

}  // namespace

std::span<const CpuType> cpu_types() noexcept { return kTypes; }

std::optional<std::uint32_t> find_cpu_type(std::string_view name) noexcept {
    const auto it = std::ranges::find(kTypes, name, &CpuType::name);
    return it == kTypes.end() ? std::nullopt : std::optional{it->signature};
}

}  // namespace holdfast::memcrypt::snp
