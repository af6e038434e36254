// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/request_ring.hpp"

#include <cerrno>

namespace holdfast::io {

Result<RequestRing> RequestRing::create(const UniqueFd& memory, EventFd requests, EventFd completions) {
    return RequestRing{HF_TRY(SharedMemory::map(memory)), std::move(requests), std::move(completions)};
}

Result<Job> RequestRing::judge(const shared::Request& request) const noexcept {
    Job job{.op = static_cast<Op>(request.op),
            .resource = ResourceId{request.resource},
            .offset = request.offset,
            .length = request.length,
            .tag = request.tag,
            .bytes = {}};
    switch (job.op) {
        case Op::Read:
        case Op::Write:
        case Op::Send:
        case Op::Receive:
            if (request.slot >= kSlotCount || request.length > kSlotSize) {
                return peer_fault("request outside of the arena");
            }
            job.bytes = memory_.slot(request.slot).first(request.length);
            return job;
        case Op::Flush:
        case Op::Discard:
        case Op::WriteZeroes: return job;
    }
    return peer_fault("unknown request");
}

Result<std::optional<Job>> RequestRing::take() noexcept {
    if (overrun_) return peer_fault("completions are not taken");
    // A VMM of ours never has more under way; one that does waits like everyone else.
    if (under_way_ >= kRingEntries) return std::optional<Job>{};
    const auto request = HF_TRY(requests_.take());
    if (!request) return std::optional<Job>{};
    const Job job = HF_TRY(judge(*request));
    ++under_way_;
    return std::optional{job};
}

void RequestRing::complete(const Job& job, Status status, std::uint32_t length) noexcept {
    --under_way_;
    const bool put = completions_.put({.tag = job.tag,
                                       .length = status == Status::Ok ? length : 0,
                                       .status = static_cast<std::uint8_t>(status),
                                       .reserved = {}});
    if (!put) overrun_ = true;
}

Status status_of(int os_errno) noexcept {
    switch (os_errno) {
        case 0: return Status::Ok;
        case ENOSPC:
        case EDQUOT: return Status::NoSpace;
        case EOPNOTSUPP:
        case ENOSYS: return Status::Unsupported;
        default: return Status::IoError;
    }
}

}  // namespace holdfast::io
