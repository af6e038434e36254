// SPDX-License-Identifier: Apache-2.0
// An io_uring that can do four things to registered files and nothing else: read, write, sync data,
// fallocate (IORING_REGISTER_RESTRICTIONS). The arena is not registered: that would pin and so
// allocate all of it, 16 MiB for a VM that may never use them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <liburing.h>

#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast::io {

/// One thread. The kernel may write to the buffers of what is under way until it is reaped.
class Uring {
public:
    /// `files` by index from here on. Needs io_uring_setup(2) and io_uring_register(2), which the jail
    /// forbids later. EPERM or ENOSYS: this host does not let us.
    static Result<std::unique_ptr<Uring>> create(std::span<const UniqueFd* const> files,
                                                 std::uint32_t under_way);
    Uring(const Uring&) = delete;
    Uring& operator=(const Uring&) = delete;
    ~Uring() { ::io_uring_queue_exit(&ring_); }

    void read(int file, std::span<std::byte> out, std::uint64_t offset, std::uint32_t id) noexcept;
    void write(int file, std::span<const std::byte> in, std::uint64_t offset, std::uint32_t id) noexcept;
    void sync_data(int file, std::uint32_t id) noexcept;
    void allocate(int file, int mode, std::uint64_t offset, std::uint64_t size, std::uint32_t id) noexcept;
    /// Hands what was queued to the kernel. What it can do at once is reapable when this returns.
    Result<void> submit() noexcept;

    struct Done {
        std::uint32_t id = 0;
        int result = 0;  ///< bytes, or minus errno
    };
    [[nodiscard]] std::optional<Done> reap() noexcept;
    [[nodiscard]] bool reapable() const noexcept { return ::io_uring_cq_ready(&ring_) != 0; }
    /// Readable when something can be reaped.
    [[nodiscard]] const UniqueFd& readable() const noexcept { return poll_fd_; }

    void list_descriptors(std::vector<int>& into) const {
        into.insert(into.end(), {ring_.ring_fd, poll_fd_.get()});
    }

private:
    Uring() noexcept = default;
    io_uring_sqe& next_sqe() noexcept;
    io_uring ring_{};
    UniqueFd poll_fd_;
};

}  // namespace holdfast::io
