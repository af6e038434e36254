// SPDX-License-Identifier: Apache-2.0
// The few TPM commands that a vTPM's creation needs, over the sockets of a fresh holdfast-vtpm (TPM 2.0
// Library, Part 3, Revision 1.59). It has seen no guest; its answers are bounded and checked none the less.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "sys/fd.hpp"

namespace holdfast::vtpm::ca {

class Tpm {
public:
    /// Blocking stream sockets, connected.
    Tpm(UniqueFd control, UniqueFd data) noexcept : control_{std::move(control)}, data_{std::move(data)} {}

    Result<void> power_on();   ///< INIT, then TPM2_Startup(CLEAR)
    Result<void> power_off();  ///< SHUTDOWN, which is orderly
    /// TPM2_CreatePrimary in the endorsement hierarchy, flushed again: its TPMT_PUBLIC.
    Result<std::vector<std::byte>> primary_key(std::span<const std::byte> public_template);
    /// Defines, writes and locks an index that belongs to the platform.
    Result<void> write_nv(std::uint32_t index, std::span<const std::byte> bytes);
    /// TPM2_GetCapability(TPM_CAP_TPM_PROPERTIES) of one property.
    Result<std::uint32_t> property(std::uint32_t which);

private:
    Result<void> control(std::span<const std::byte> request);
    /// The parameters and handles of the answer; any code but TPM_RC_SUCCESS is an error.
    Result<std::span<const std::byte>> run(std::uint16_t tag, std::uint32_t code,
                                           std::span<const std::byte> rest);
    UniqueFd control_;
    UniqueFd data_;
    std::array<std::byte, 4096> response_{};
};

}  // namespace holdfast::vtpm::ca
