// SPDX-License-Identifier: Apache-2.0
// What must be known of a TPM command before libtpms sees it: its length, and which kind it is (TPM
// 2.0 Library, Part 3, Revision 1.59). Nothing else of it is parsed here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace holdfast::vtpm {

namespace tpm {
inline constexpr std::uint16_t ST_NO_SESSIONS = 0x8001;
inline constexpr std::uint16_t ST_SESSIONS = 0x8002;
inline constexpr std::uint32_t RC_FAILURE = 0x101;
inline constexpr std::uint32_t RC_COMMAND_SIZE = 0x142;
inline constexpr std::uint32_t RC_NV_RATE = 0x920;
inline constexpr std::uint32_t RC_RETRY = 0x922;
inline constexpr std::uint32_t CC_Shutdown = 0x145;
inline constexpr std::uint16_t SU_CLEAR = 0;
}  // namespace tpm

struct CommandHead {
    std::uint16_t tag = 0;
    std::uint32_t size = 0;
    std::uint32_t code = 0;
};
inline constexpr std::size_t kHeadBytes = 10;

/// Of at least kHeadBytes; a response has the same head, with its return code for the command's.
[[nodiscard]] CommandHead head_of(std::span<const std::byte> bytes) noexcept;
/// A response that is a return code and nothing else.
[[nodiscard]] std::array<std::byte, kHeadBytes> bare_response(std::uint32_t code) noexcept;

/// Whether the command is made to write the permanent state each time it succeeds.
[[nodiscard]] bool always_stores(std::uint32_t code) noexcept;

}  // namespace holdfast::vtpm
