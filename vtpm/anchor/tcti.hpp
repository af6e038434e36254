// SPDX-License-Identifier: Apache-2.0
// TPM commands over a descriptor that somebody else opened: /dev/tpmrm0, or a connected stream socket of
// a software TPM. The TCTI that tpm2-tss is given (TCG TSS 2.0 TCTI, 1.0 revision 18); cancel, locality
// and sticky contexts are left out.
#pragma once

#include <array>
#include <memory>

#include <tss2/tss2_tcti.h>

#include "sys/fd.hpp"

namespace holdfast::anchor {

/// One thread. Never moves: tpm2-tss keeps its address.
class TpmLink {
public:
    explicit TpmLink(UniqueFd fd) noexcept;
    TpmLink(const TpmLink&) = delete;
    TpmLink& operator=(const TpmLink&) = delete;
    [[nodiscard]] TSS2_TCTI_CONTEXT* context() noexcept;

private:
    // First member: tpm2-tss sees only this part, and hands its address back.
    struct Context {
        TSS2_TCTI_CONTEXT_COMMON_V1 functions{};
        TpmLink* self = nullptr;
    };
    static TSS2_RC transmit(TSS2_TCTI_CONTEXT* context, std::size_t size, const std::uint8_t* command);
    static TSS2_RC receive(TSS2_TCTI_CONTEXT* context, std::size_t* size, std::uint8_t* response,
                           std::int32_t);
    [[nodiscard]] TSS2_RC fill(std::size_t wanted);

    Context context_;
    UniqueFd fd_;
    std::array<std::byte, 4096> response_{};  ///< the longest that the kernel's driver gives
    std::size_t held_ = 0;
};

}  // namespace holdfast::anchor
