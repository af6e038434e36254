// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "memcrypt/cipher/cpu.hpp"

namespace holdfast::memcrypt {

/// Why a test of instructions is skipped: their flags in /proc/cpuinfo, so that tools/test_report.py can look
/// there.
inline const char* skip_without(bool CpuFeatures::* needs) {
    if (needs == &CpuFeatures::vaes_avx512)
        return "skip: no processor flags vaes vpclmulqdq avx512f avx512dq avx512cd avx512bw avx512vl bmi2";
    if (needs == &CpuFeatures::vaes_avx2) return "skip: no processor flags vaes avx2";
    return "skip: no processor flags aes sse4_1";
}

}  // namespace holdfast::memcrypt
