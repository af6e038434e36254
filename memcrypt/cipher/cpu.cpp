// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/cipher/cpu.hpp"

namespace holdfast::memcrypt {

CpuFeatures this_cpu() noexcept {
    // The compiler's own look at CPUID, which asks XCR0 about the wide registers too.
    const auto all = [](auto... has) { return ((has != 0) && ...); };
    return {
        .aes = all(__builtin_cpu_supports("aes"), __builtin_cpu_supports("sse4.1")),
        .pclmul = all(__builtin_cpu_supports("pclmul")),
        .vaes_avx2 = all(__builtin_cpu_supports("vaes"), __builtin_cpu_supports("avx2")),
        .vaes_avx512 = all(__builtin_cpu_supports("vaes"), __builtin_cpu_supports("vpclmulqdq"),
                           __builtin_cpu_supports("avx512f"), __builtin_cpu_supports("avx512dq"),
                           __builtin_cpu_supports("avx512cd"), __builtin_cpu_supports("avx512bw"),
                           __builtin_cpu_supports("avx512vl"), __builtin_cpu_supports("bmi2")),
    };
}

}  // namespace holdfast::memcrypt
