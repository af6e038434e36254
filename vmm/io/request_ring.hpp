// SPDX-License-Identifier: Apache-2.0
// The I/O process's side of the shared ring: requests are judged here once, so that everything
// behind it acts on safe values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sys/eventfd.hpp"
#include "sys/result.hpp"
#include "vmm/io/protocol.hpp"
#include "vmm/io/ring.hpp"

namespace holdfast::io {

/// A request whose form was judged: `op` exists, `bytes` is the part of the slot it may use. Whether
/// `resource` exists and `offset` lies on the disk is for whoever serves it.
struct Job {
    Op op = Op::Flush;
    ResourceId resource{};
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
    std::uint32_t tag = 0;
    /// The arena: the VMM may change it at any time. Empty for Flush, Discard, WriteZeroes.
    std::span<std::byte> bytes;
};

/// One thread.
class RequestRing {
public:
    /// `requests` wakes us, `completions` wakes the VMM.
    static Result<RequestRing> create(const UniqueFd& memory, EventFd requests, EventFd completions);

    /// The next request, or none. Peer error: the VMM broke the protocol, stop serving it.
    Result<std::optional<Job>> take() noexcept;
    /// `length` is what was read or received. Shown to the VMM by publish().
    void complete(const Job& job, Status status, std::uint32_t length = 0) noexcept;
    /// Shows all completions since the last call, and wakes the VMM if it sleeps. Once a round.
    void publish() noexcept {
        if (completions_.publish()) wake_vmm_.signal();
    }

    [[nodiscard]] bool pending() const noexcept { return requests_.pending(); }
    /// Before sleeping; false when there is a request already.
    [[nodiscard]] bool arm() noexcept { return requests_.arm(); }
    void disarm() noexcept { requests_.disarm(); }
    [[nodiscard]] const EventFd& wake_up() const noexcept { return wake_us_; }
    void list_descriptors(std::vector<int>& into) const {
        into.insert(into.end(), {wake_us_.fd().get(), wake_vmm_.fd().get()});
    }
    [[nodiscard]] std::uint32_t under_way() const noexcept { return under_way_; }

private:
    RequestRing(SharedMemory memory, EventFd requests, EventFd completions) noexcept
        : memory_{std::move(memory)},
          wake_us_{std::move(requests)},
          wake_vmm_{std::move(completions)},
          requests_{memory_.rings().requests},
          completions_{memory_.rings().completions} {}
    Result<Job> judge(const shared::Request& request) const noexcept;

    SharedMemory memory_;
    EventFd wake_us_;
    EventFd wake_vmm_;
    Consumer<shared::Request> requests_;
    Producer<shared::Completion> completions_;
    std::uint32_t under_way_ = 0;
    bool overrun_ = false;  ///< the VMM left no room for a completion
};

/// Why a system call failed, as the VMM may know it.
[[nodiscard]] Status status_of(int os_errno) noexcept;

}  // namespace holdfast::io
