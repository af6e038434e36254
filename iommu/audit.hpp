// SPDX-License-Identifier: Apache-2.0
// The audit log of devices: one line an event, each with the hash of all lines up to it. A line that was
// changed, taken out or moved breaks the chain; that the last lines were cut off does not show in the log
// alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommu/mapping.hpp"
#include "sys/fd.hpp"
#include "sys/rate.hpp"
#include "sys/result.hpp"

namespace holdfast::iommu {

struct AuditEvent {
    std::string_view what;  ///< one word: granted, refused, revoked, bound, unbound
    std::string_view device;
    std::string_view why;  ///< one word; may be empty
    std::optional<Mapping> mapping;
};

/// One line, taken apart.
struct AuditLine {
    std::uint64_t number = 0;
    std::uint64_t at_ms = 0;
    std::vector<std::pair<std::string, std::string>> fields;  ///< in order, all but the chain
    std::string chain;
};

/// Not thread-safe. One writer a file: the file is locked.
class AuditLog {
public:
    static constexpr std::uint64_t kMostBytes = 4 << 20;
    /// What a guest causes: this many lines a second, and the rest counted in the next line.
    static constexpr std::uint64_t kRate = 50;
    static constexpr std::uint64_t kBurst = 500;

    /// `file` is open for reading and writing; what is in it is checked first. A line that a power cut left
    /// unfinished is taken off; any other fault of the chain is an Input error.
    static Result<AuditLog> open(UniqueFd file);

    /// An Input error when the file is full (kMostBytes): nothing is ever overwritten. `at` is milliseconds
    /// since 1970.
    Result<void> append(const AuditEvent& event, std::uint64_t at);
    /// So many events are not written; the next line says so.
    void leave_out(std::uint64_t events) noexcept { left_out_ += events; }
    /// The same for what a guest causes.
    Result<void> append_limited(const AuditEvent& event, std::uint64_t at,
                                TokenBucket::Clock::time_point now);

private:
    explicit AuditLog(UniqueFd file) noexcept : file_{std::move(file)} {}

    UniqueFd file_;
    std::uint64_t bytes_ = 0;
    std::uint64_t next_ = 0;
    std::uint64_t left_out_ = 0;
    std::string chain_ = std::string(64, '0');
    TokenBucket budget_{kRate, kBurst, {}};
};

/// All whole lines of a log, if the chain holds; else an Input error. `text` may end in the middle of a line.
[[nodiscard]] Result<std::vector<AuditLine>> read_audit(std::string_view text);

}  // namespace holdfast::iommu
