// SPDX-License-Identifier: Apache-2.0
// Owning descriptors, and complete reads and writes on them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "sys/result.hpp"

namespace holdfast {

/// Sole owner of one file descriptor. Whoever opens sets O_CLOEXEC.
class UniqueFd {
public:
    UniqueFd() noexcept = default;
    explicit UniqueFd(int fd) noexcept : fd_{fd} {}
    UniqueFd(UniqueFd&& other) noexcept : fd_{other.release()} {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        reset(other.release());
        return *this;
    }
    ~UniqueFd() { reset(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    /// close() is not retried: after EINTR the number is gone.
    void reset(int fd = -1) noexcept;
    /// A second descriptor of the same file, with CLOEXEC.
    [[nodiscard]] Result<UniqueFd> duplicate() const;

private:
    int fd_ = -1;
};

/// Reads exactly out.size() bytes at `offset`; a file that ends earlier is an Input error.
Result<void> pread_exact(const UniqueFd& fd, std::span<std::byte> out, std::uint64_t offset);

/// Writes all of `in` to a blocking descriptor.
Result<void> write_all(const UniqueFd& fd, std::span<const std::byte> in);

/// The size of a regular file in bytes; anything else is an Input error.
Result<std::uint64_t> file_size(const UniqueFd& fd);

Result<void> set_nonblocking(const UniqueFd& fd);

/// A memfd of `size` bytes whose size is sealed, so no holder can shrink it under another's mapping.
/// `name` shows in /proc only.
Result<UniqueFd> sealed_memfd(const char* name, std::uint64_t size);

}  // namespace holdfast
