// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/disks.hpp"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "sys/log.hpp"

namespace holdfast::io {
namespace {

/// O_DIRECT wants offsets and lengths in whole blocks, and the guest's are 512 bytes. Where the file
/// system wants more, the page cache does the work.
Result<void> settle_direct(Disk& disk) {
    if (!disk.direct || disk.size_bytes == 0) return {};
    alignas(4096) std::array<std::byte, 512> sector;
    if (::pread(disk.file.get(), sector.data(), sector.size(), 0) >= 0) return {};
    if (errno != EINVAL) return os_error("read disk");
    const int flags = ::fcntl(disk.file.get(), F_GETFL);
    if (flags < 0 || ::fcntl(disk.file.get(), F_SETFL, flags & ~O_DIRECT) < 0) {
        return os_error("take O_DIRECT off a disk");
    }
    disk.direct = false;
    log::info("disk.buffered", {{"why", "O_DIRECT needs blocks larger than 512 bytes here"}});
    return {};
}

bool moves_bytes(Op op) noexcept { return op == Op::Read || op == Op::Write; }

}  // namespace

Disks::Disks(std::vector<Disk> disks, RequestRing& ring, std::unique_ptr<Uring> uring)
    : disks_{std::move(disks)}, ring_{ring}, uring_{std::move(uring)} {
    if (disks_.empty()) return;
    flights_ = std::make_unique<std::array<Flight, kRingEntries>>();
    for (std::uint16_t i = 0; i < kRingEntries; ++i) {
        (*flights_)[i].next_free = static_cast<std::uint16_t>(i + 1);
    }
}

Result<Disks> Disks::create(std::vector<Disk> disks, RequestRing& ring, DiskEngine engine) {
    for (Disk& disk : disks) HF_TRY(settle_direct(disk));
    std::unique_ptr<Uring> uring;
    if (engine == DiskEngine::UringIfPermitted && !disks.empty()) {
        std::vector<const UniqueFd*> files;
        for (const Disk& disk : disks) files.push_back(&disk.file);
        auto created = Uring::create(files, kRingEntries);
        if (created) {
            uring = std::move(*created);
        } else {
            log::info("disk.plain",
                      {{"why", created.error().what}, {"errno", errno_name(created.error().os_errno)}});
        }
    }
    return Disks{std::move(disks), ring, std::move(uring)};
}

void Disks::list_descriptors(std::vector<int>& into) const {
    for (const Disk& disk : disks_) into.push_back(disk.file.get());
    if (uring_) uring_->list_descriptors(into);
}

Status Disks::judge(const Job& job) const noexcept {
    const auto index = static_cast<std::size_t>(job.resource);
    if (index >= disks_.size()) return Status::Unsupported;
    const Disk& disk = disks_[index];
    switch (job.op) {
        case Op::Flush: return Status::Ok;
        case Op::Read: break;
        case Op::Write:
        case Op::Discard:
        case Op::WriteZeroes:
            if (disk.read_only) return Status::ReadOnly;
            break;
        case Op::Send:
        case Op::Receive: return Status::Unsupported;
    }
    const bool fits = job.offset <= disk.size_bytes && job.length <= disk.size_bytes - job.offset;
    return fits ? Status::Ok : Status::OutOfRange;
}

void Disks::start(const Job& job) noexcept {
    const Status verdict = judge(job);
    // Nothing to do is done: also spares fallocate() a length of 0, which it refuses.
    const bool nothing = job.op == Op::Flush ? verdict == Status::Ok &&
                                                   disks_[static_cast<std::size_t>(job.resource)].read_only
                                             : job.length == 0;
    if (verdict != Status::Ok || nothing) {
        ring_.complete(job, verdict);
        return;
    }
    // The ring has no more than kRingEntries under way, so there is always a free flight.
    const std::uint16_t id = first_free_;
    Flight& flight = (*flights_)[id];
    first_free_ = flight.next_free;
    ++under_way_;
    flight = {.job = job};
    launch(id);
}

void Disks::launch(std::uint32_t id) noexcept {
    const Flight& flight = (*flights_)[id];
    if (!uring_) {
        land(id, perform(flight));
        return;
    }
    const Job& job = flight.job;
    const int file = static_cast<int>(job.resource);
    switch (job.op) {
        case Op::Read:
            uring_->read(file, job.bytes.subspan(flight.done), job.offset + flight.done, id);
            break;
        case Op::Write:
            uring_->write(file, job.bytes.subspan(flight.done), job.offset + flight.done, id);
            break;
        case Op::Flush: uring_->sync_data(file, id); break;
        case Op::Discard:
            uring_->allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, job.offset, job.length, id);
            break;
        case Op::WriteZeroes:
            uring_->allocate(
                file, (flight.punching ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
                job.offset, job.length, id);
            break;
        case Op::Send:
        case Op::Receive: break;  // judge() refused them
    }
}

// The same as launch(), by plain system calls: bytes, or minus errno.
int Disks::perform(const Flight& flight) const noexcept {
    const Job& job = flight.job;
    const int fd = disks_[static_cast<std::size_t>(job.resource)].file.get();
    const auto offset = static_cast<off_t>(job.offset + flight.done);
    const auto bytes = moves_bytes(job.op) ? job.bytes.subspan(flight.done) : job.bytes;
    ssize_t rc = -1;
    switch (job.op) {
        case Op::Read: rc = ::pread(fd, bytes.data(), bytes.size(), offset); break;
        case Op::Write: rc = ::pwrite(fd, bytes.data(), bytes.size(), offset); break;
        case Op::Flush: rc = ::fdatasync(fd); break;
        case Op::Discard:
            rc = ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, job.length);
            break;
        case Op::WriteZeroes:
            rc = ::fallocate(
                fd, (flight.punching ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
                offset, job.length);
            break;
        case Op::Send:
        case Op::Receive: return -EOPNOTSUPP;
    }
    return rc < 0 ? -errno : static_cast<int>(rc);
}

void Disks::land(std::uint32_t id, int result) noexcept {
    Flight& flight = (*flights_)[id];
    if (result == -EINTR || result == -EAGAIN) {
        if (++flight.retries > kMaxRetries) return finish(id, Status::IoError);
        return launch(id);
    }
    if (result == -EOPNOTSUPP && flight.job.op == Op::WriteZeroes && !flight.punching) {
        flight.punching = true;  // tmpfs: no zeroing, but a hole reads as zeroes
        return launch(id);
    }
    if (result < 0) {
        log::warn("disk.failed", Error{Fault::Os, -result, "disk request"},
                  {{"disk", static_cast<std::uint8_t>(flight.job.resource)},
                   {"op", static_cast<std::uint8_t>(flight.job.op)}});
        return finish(id, status_of(-result));
    }
    if (!moves_bytes(flight.job.op)) return finish(id, Status::Ok);
    // 0: the file has become shorter than the disk we promised.
    if (result == 0) return finish(id, Status::IoError);
    flight.done += static_cast<std::uint32_t>(result);
    flight.retries = 0;
    if (flight.done < flight.job.length) return launch(id);
    finish(id, Status::Ok);
}

void Disks::finish(std::uint32_t id, Status status) noexcept {
    Flight& flight = (*flights_)[id];
    ring_.complete(flight.job, status, flight.job.op == Op::Read ? flight.done : 0);
    flight.next_free = first_free_;
    first_free_ = static_cast<std::uint16_t>(id);
    --under_way_;
}

Result<void> Disks::submit() noexcept {
    if (!uring_) return {};
    return uring_->submit();
}

bool Disks::reap() noexcept {
    if (!uring_ || under_way_ == 0) return false;
    bool any = false;
    // No more than were under way, even if some are launched again meanwhile.
    for (std::uint32_t left = under_way_; left != 0; --left) {
        const auto done = uring_->reap();
        if (!done) break;
        land(done->id, done->result);
        any = true;
    }
    return any;
}

}  // namespace holdfast::io
