// SPDX-License-Identifier: Apache-2.0
// PCR values as JSON and people have them (design §7).
#pragma once

#include <map>
#include <span>
#include <string>

#include "vtpm/eventlog/event_log.hpp"

namespace holdfast::cli {

/// Bank ("sha256"), PCR ("0"), value in hex.
using PcrTexts = std::map<std::string, std::map<std::string, std::string>>;
[[nodiscard]] PcrTexts pcr_texts(std::span<const eventlog::PcrValue> pcrs);

}  // namespace holdfast::cli
