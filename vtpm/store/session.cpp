// SPDX-License-Identifier: Apache-2.0
#include "vtpm/store/session.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>

#include "sys/log.hpp"
#include "vtpm/store/stream.hpp"

namespace holdfast::vtpm::store {

Result<void> Session::run() {
    std::vector<std::byte> blob;
    while (true) {
        Head request;
        const bool more = HF_TRY(read_or_end(client_, std::as_writable_bytes(std::span{&request, 1})));
        if (!more) return {};
        const std::uint32_t length = request.length.get();
        if (length > kMaxBlob) return peer_fault("a blob is too long for a slot");
        blob.resize(length);
        if (!HF_TRY(read_or_end(client_, blob))) return {};
        HF_TRY(answer(request, blob));
    }
}

Result<void> Session::answer(const Head& request, std::span<const std::byte> blob) {
    switch (static_cast<Operation>(request.operation.get())) {
        case Operation::Open: return open();
        case Operation::Write: return write(request.version.get(), blob);
        case Operation::GoBack: return go_back();
        case Operation::Release:
            slots_.reset();
            HF_TRY(lock(F_UNLCK));
            return reply(Status::Ok);
    }
    return peer_fault("unknown request to the state service");
}

Result<void> Session::open() {
    if (!HF_TRY(lock(F_WRLCK))) return reply(Status::Locked);
    auto slots = Slots::open(disk_);
    if (!slots) {
        if (slots.error().fault != Fault::Input) return slots.error();
        log::error("store.damaged", slots.error());
        return reply(Status::Damaged);
    }
    slots_ = std::move(*slots);
    const auto status = slots_->version() == 0 ? Status::Empty : Status::Ok;
    return reply(status, slots_->version(), slots_->blob());
}

Result<void> Session::go_back() {
    if (!slots_) return reply(Status::Refused);
    if (const auto gone = slots_->go_back(); !gone) {
        if (gone.error().fault != Fault::Input) return gone.error();
        log::error("store.nothing_before", gone.error());
        return reply(Status::Damaged);
    }
    return reply(Status::Ok, slots_->version(), slots_->blob());
}

Result<void> Session::write(std::uint64_t version, std::span<const std::byte> blob) {
    if (!slots_ || version != slots_->version() + 1) return reply(Status::Refused);
    HF_TRY(slots_->write(blob));
    HF_TRY(reply(Status::Ok, version));
    return slots_->mark();
}

Result<void> Session::reply(Status status, std::uint64_t version, std::span<const std::byte> blob) {
    const Head head{.operation = static_cast<std::uint32_t>(status),
                    .length = static_cast<std::uint32_t>(blob.size()),
                    .version = version};
    HF_TRY(write_all(client_, std::as_bytes(std::span{&head, 1})));
    return write_all(client_, blob);
}

Result<bool> Session::lock(int type) {
    struct flock wanted{};
    wanted.l_type = static_cast<short>(type);
    wanted.l_whence = SEEK_SET;
    // Of the open file, not the process: the command line asks with its own whether we hold it.
    if (::fcntl(disk_.file().get(), F_OFD_SETLK, &wanted) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    return os_error("lock the state file");
}

}  // namespace holdfast::vtpm::store
