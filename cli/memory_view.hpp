// SPDX-License-Identifier: Apache-2.0
// What QMP's query-memcrypt says of a VM's memory, and how people see it. Shared by status and top.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "memcrypt/software/statistics.hpp"

namespace holdfast::cli {

struct MemoryView {
    std::string suite;
    std::uint64_t seal_after_ms = 0;
    memcrypt::software::Statistics now;
};

/// None: the VM's tier encrypts nothing, or the answer is not one.
[[nodiscard]] std::optional<MemoryView> read_memory_view(const nlohmann::json& answer);

/// The window as a bar of `width` characters: plaintext in use, in grace, and free.
[[nodiscard]] std::string window_bar(const memcrypt::software::Statistics& now, std::size_t width);
/// The time below which `part` (0 to 1) of the faults stayed, as words: the upper end of its class.
[[nodiscard]] std::string latency_words(const memcrypt::software::Latencies& latencies, double part);

}  // namespace holdfast::cli
