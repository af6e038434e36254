// SPDX-License-Identifier: Apache-2.0
// How up to date a TDX platform is, by Intel's TCB info: the levels of platform, TDX module and quoting
// enclave, and the worst of them ("Intel TDX DCAP Quote Validation", and Intel's description of the API v4,
// "TCB Info").
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attest/formats/tdx/collateral.hpp"
#include "attest/formats/tdx/pck.hpp"
#include "attest/formats/tdx/quote.hpp"

namespace holdfast::attest::tdx {

/// The first level, which is the newest, that the platform reaches in every component; none: it is below all
/// of them.
[[nodiscard]] const TcbLevel* platform_level(const TcbInfo& info, const Pck& pck,
                                             std::span<const std::byte> tee_tcb_svn) noexcept;

/// What TCB info knows of the TDX module that the quote names.
struct ModuleMatch {
    bool known = false;               ///< its signer and attributes are as they must be
    const IsvLevel* level = nullptr;  ///< none: it is below all, or versions of it are the platform's own
    bool has_levels = false;
};
[[nodiscard]] ModuleMatch match_module(const TcbInfo& info, const TdReport& td) noexcept;

/// The first level that the version reaches.
[[nodiscard]] const IsvLevel* isv_level(std::span<const IsvLevel> levels, std::uint16_t isv_svn) noexcept;

/// The platform's status, as that of a part (module or quoting enclave) makes it.
[[nodiscard]] TcbStatus converge(TcbStatus platform, TcbStatus part) noexcept;

}  // namespace holdfast::attest::tdx
