// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/uring.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include <fcntl.h>

namespace holdfast::io {
namespace {

constexpr std::uint32_t kBatch = 128;  // entries of the submission queue

Error uring_error(int rc, const char* what) noexcept { return {Fault::Os, -rc, what}; }

Result<void> restrict_to_disks(io_uring& ring) {
    std::array<io_uring_restriction, 5> rules{};
    constexpr std::array<std::uint8_t, 4> allowed{IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC,
                                                  IORING_OP_FALLOCATE};
    for (std::size_t i = 0; i < allowed.size(); ++i) {
        rules[i].opcode = IORING_RESTRICTION_SQE_OP;
        rules[i].sqe_op = allowed[i];
    }
    rules[4].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    rules[4].sqe_flags = IOSQE_FIXED_FILE;
    if (const int rc = ::io_uring_register_restrictions(&ring, rules.data(), rules.size()); rc < 0) {
        return uring_error(rc, "restrict io_uring");
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Uring>> Uring::create(std::span<const UniqueFd* const> files,
                                             std::uint32_t under_way) {
    io_uring_params params{};
    params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CQSIZE;
    // So that it never overflows.
    params.cq_entries = std::bit_ceil(std::max(under_way, kBatch));
    std::unique_ptr<Uring> uring{new Uring};
    if (const int rc = ::io_uring_queue_init_params(kBatch, &uring->ring_, &params); rc < 0) {
        uring->ring_.ring_fd = -1;
        return uring_error(rc, "io_uring_setup");
    }
    uring->poll_fd_ = UniqueFd{::fcntl(uring->ring_.ring_fd, F_DUPFD_CLOEXEC, 3)};
    if (!uring->poll_fd_) return os_error("duplicate io_uring");

    std::vector<int> numbers;
    for (const UniqueFd* file : files) numbers.push_back(file->get());
    if (const int rc =
            ::io_uring_register_files(&uring->ring_, numbers.data(), static_cast<unsigned>(numbers.size()));
        rc < 0) {
        return uring_error(rc, "register disks with io_uring");
    }
    // Kernel threads for what would block (fsync, allocating writes): enough to keep a disk busy, and
    // not one a request.
    std::array<unsigned, 2> workers{8, 8};
    if (const int rc = ::io_uring_register_iowq_max_workers(&uring->ring_, workers.data()); rc < 0) {
        return uring_error(rc, "bound io_uring workers");
    }
    HF_TRY(restrict_to_disks(uring->ring_));
    if (const int rc = ::io_uring_enable_rings(&uring->ring_); rc < 0) {
        return uring_error(rc, "enable io_uring");
    }
    return uring;
}

io_uring_sqe& Uring::next_sqe() noexcept {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {  // the batch is full: the kernel takes it now
        [[maybe_unused]] const auto submitted = submit();
        sqe = ::io_uring_get_sqe(&ring_);
    }
    check(sqe != nullptr, "io_uring takes no requests");
    return *sqe;
}

void Uring::read(int file, std::span<std::byte> out, std::uint64_t offset, std::uint32_t id) noexcept {
    io_uring_sqe& sqe = next_sqe();
    ::io_uring_prep_read(&sqe, file, out.data(), static_cast<unsigned>(out.size()), offset);
    sqe.flags = IOSQE_FIXED_FILE;
    ::io_uring_sqe_set_data64(&sqe, id);
}

void Uring::write(int file, std::span<const std::byte> in, std::uint64_t offset, std::uint32_t id) noexcept {
    io_uring_sqe& sqe = next_sqe();
    ::io_uring_prep_write(&sqe, file, in.data(), static_cast<unsigned>(in.size()), offset);
    sqe.flags = IOSQE_FIXED_FILE;
    ::io_uring_sqe_set_data64(&sqe, id);
}

void Uring::sync_data(int file, std::uint32_t id) noexcept {
    io_uring_sqe& sqe = next_sqe();
    ::io_uring_prep_fsync(&sqe, file, IORING_FSYNC_DATASYNC);
    sqe.flags = IOSQE_FIXED_FILE;
    ::io_uring_sqe_set_data64(&sqe, id);
}

void Uring::allocate(int file, int mode, std::uint64_t offset, std::uint64_t size,
                     std::uint32_t id) noexcept {
    io_uring_sqe& sqe = next_sqe();
    ::io_uring_prep_rw(IORING_OP_FALLOCATE, &sqe, file, nullptr, static_cast<unsigned>(mode), offset);
    sqe.addr = size;  // io_uring_enter(2): addr holds the length, len the mode
    sqe.flags = IOSQE_FIXED_FILE;
    ::io_uring_sqe_set_data64(&sqe, id);
}

Result<void> Uring::submit() noexcept {
    if (::io_uring_sq_ready(&ring_) == 0) return {};
    int rc = -1;
    do {
        rc = ::io_uring_submit(&ring_);
    } while (rc == -EINTR);
    // EAGAIN and EBUSY: the kernel is short of memory or of room for completions; what is queued
    // stays queued for the next round.
    if (rc < 0 && rc != -EAGAIN && rc != -EBUSY) return uring_error(rc, "io_uring_enter");
    return {};
}

std::optional<Uring::Done> Uring::reap() noexcept {
    io_uring_cqe* cqe = nullptr;
    if (::io_uring_peek_batch_cqe(&ring_, &cqe, 1) == 0) return std::nullopt;
    const Done done{.id = static_cast<std::uint32_t>(::io_uring_cqe_get_data64(cqe)), .result = cqe->res};
    ::io_uring_cqe_seen(&ring_, cqe);
    return done;
}

}  // namespace holdfast::io
