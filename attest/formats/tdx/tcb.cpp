// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tdx/tcb.hpp"

#include <algorithm>
#include <cstdio>

namespace holdfast::attest::tdx {
namespace {

using Bytes = std::span<const std::byte>;

bool reaches(std::span<const std::uint8_t> have, std::span<const std::uint8_t> least) noexcept {
    return std::ranges::equal(have, least, std::ranges::greater_equal{});
}

bool is_module(const ModuleIdentity& identity, const TdReport& td) noexcept {
    return std::ranges::equal(identity.mr_signer, td.mr_signer_seam) &&
           equal_masked(td.seam_attributes, identity.attributes, identity.attributes_mask);
}

}  // namespace

const TcbLevel* platform_level(const TcbInfo& info, const Pck& pck, Bytes tee_tcb_svn) noexcept {
    std::array<std::uint8_t, 16> tdx{};
    std::ranges::transform(tee_tcb_svn, tdx.begin(),
                           [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
    // Byte 1 is the major version of the TDX module. Above 0 the module has levels of its own, by its
    // identity, and the first two bytes say nothing of the platform.
    const std::size_t first = tdx[1] > 0 ? 2 : 0;
    for (const TcbLevel& level : info.levels) {
        if (reaches(pck.components, level.sgx) && pck.pce_svn >= level.pce_svn &&
            reaches(std::span{tdx}.subspan(first), std::span{level.tdx}.subspan(first))) {
            return &level;
        }
    }
    return nullptr;
}

const IsvLevel* isv_level(std::span<const IsvLevel> levels, std::uint16_t isv_svn) noexcept {
    const auto level =
        std::ranges::find_if(levels, [&](const IsvLevel& one) { return one.isv_svn <= isv_svn; });
    return level == levels.end() ? nullptr : &*level;
}

ModuleMatch match_module(const TcbInfo& info, const TdReport& td) noexcept {
    const auto major = std::to_integer<unsigned>(td.tee_tcb_svn[1]);
    if (major == 0) return {.known = info.module && is_module(*info.module, td)};
    std::array<char, 8> id{};
    std::snprintf(id.data(), id.size(), "TDX_%02X", major);
    const auto identity = std::ranges::find(info.modules, std::string_view{id.data()}, &ModuleIdentity::id);
    if (identity == info.modules.end()) return {.has_levels = true};
    return {.known = is_module(*identity, td),
            .level = isv_level(identity->levels, std::to_integer<std::uint16_t>(td.tee_tcb_svn[0])),
            .has_levels = true};
}

TcbStatus converge(TcbStatus platform, TcbStatus part) noexcept {
    if (part == TcbStatus::Revoked || platform == TcbStatus::Revoked) return TcbStatus::Revoked;
    if (part != TcbStatus::OutOfDate) return platform;
    switch (platform) {
        case TcbStatus::UpToDate:
        case TcbStatus::SwHardeningNeeded:
        case TcbStatus::OutOfDate: return TcbStatus::OutOfDate;
        case TcbStatus::ConfigurationNeeded:
        case TcbStatus::ConfigurationAndSwHardeningNeeded:
        case TcbStatus::OutOfDateConfigurationNeeded: return TcbStatus::OutOfDateConfigurationNeeded;
        case TcbStatus::Revoked: return TcbStatus::Revoked;
    }
    return TcbStatus::Revoked;
}

}  // namespace holdfast::attest::tdx
