// SPDX-License-Identifier: Apache-2.0
// Why an anchor does not serve: each state has a stable name, a cause and a way out, for people.
#pragma once

#include <cstdint>
#include <string_view>

#include "sys/result.hpp"

namespace holdfast::anchor {

enum class Refused : std::uint8_t {
    NotInitialized = 1,
    TpmUnreachable,
    TpmSwapped,
    KeysLocked,
    CounterMissing,
    CounterReplaced,
    CounterTaken,
    LogMissing,
    LogOld,
    LogDamaged,
    TpmWentBack,
    PowerLoss,
    Disk,
    TpmForged,
};

struct Refusal {
    Refused state = Refused::TpmUnreachable;
    Error error;  ///< what the operating system or the TPM said, if anything
};

struct RefusalWords {
    std::string_view name;   ///< for programs: stable
    std::string_view cause;  ///< one line
    std::string_view fix;    ///< one line
};
[[nodiscard]] RefusalWords words_of(Refused state) noexcept;

}  // namespace holdfast::anchor
