// SPDX-License-Identifier: Apache-2.0
// Where the ledger's log lies: two files that take turns, so that the one which holds the newest record
// is never the one being begun anew. The interface is the seam at which tests make every call fail.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "sys/fd.hpp"

namespace holdfast::anchor {

inline constexpr std::uint32_t kLogFiles = 2;

/// One thread. `file` is below kLogFiles. After an error of append() or sync() nothing is known of what
/// lies on the disk: whoever gets one ends, and never tries again.
class LogFiles {
public:
    LogFiles() = default;
    LogFiles(const LogFiles&) = delete;
    LogFiles& operator=(const LogFiles&) = delete;
    virtual ~LogFiles() = default;
    virtual Result<std::vector<std::byte>> read(std::uint32_t file) = 0;
    virtual Result<void> empty(std::uint32_t file) = 0;
    /// Behind what was appended since empty().
    virtual Result<void> append(std::uint32_t file, std::span<const std::byte> bytes) = 0;
    virtual Result<void> sync(std::uint32_t file) = 0;
};

/// Real files. Space is written ahead in steps, so that syncing a record changes no metadata.
class DiskLogFiles final : public LogFiles {
public:
    explicit DiskLogFiles(std::array<UniqueFd, kLogFiles> files) noexcept : files_{std::move(files)} {}
    Result<std::vector<std::byte>> read(std::uint32_t file) override;
    Result<void> empty(std::uint32_t file) override;
    Result<void> append(std::uint32_t file, std::span<const std::byte> bytes) override;
    Result<void> sync(std::uint32_t file) override;

private:
    std::array<UniqueFd, kLogFiles> files_;
    std::array<std::uint64_t, kLogFiles> ends_{};
    std::array<std::uint64_t, kLogFiles> allocated_{};
};

}  // namespace holdfast::anchor
