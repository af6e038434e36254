// SPDX-License-Identifier: Apache-2.0
// What this processor, and the system that saves its registers, offers to page ciphers.
#pragma once

namespace holdfast::memcrypt {

struct CpuFeatures {
    bool aes = false;          ///< AES-NI, with SSE4.1
    bool pclmul = false;       ///< carry-less multiplication
    bool vaes_avx2 = false;    ///< two AES blocks an instruction
    bool vaes_avx512 = false;  ///< four, and as many carry-less multiplications
};

[[nodiscard]] CpuFeatures this_cpu() noexcept;

}  // namespace holdfast::memcrypt
