// SPDX-License-Identifier: Apache-2.0
// The VMM's side of the I/O process: a bounded bounce arena and a ring of requests such as "write
// these 4 KiB of arena slot 7 to disk 0 at byte 40960". The I/O process sees nothing else of a guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "sys/eventfd.hpp"
#include "sys/mapping.hpp"
#include "sys/result.hpp"
#include "vmm/io/protocol.hpp"

namespace holdfast::io {

class Client;

/// A piece of the arena of kSlotSize bytes. The bytes that were used are wiped and the slot goes back
/// to its Client on destruction; the Client outlives it. Contents may be changed by the I/O process
/// at any time while a request with this slot is under way: copy once, judge the copy.
class Slot {
public:
    Slot() noexcept = default;
    Slot(Slot&& other) noexcept;
    Slot& operator=(Slot&& other) noexcept;
    ~Slot();
    [[nodiscard]] explicit operator bool() const noexcept { return owner_ != nullptr; }
    /// The first `size` bytes (at most kSlotSize). Remembers the largest size asked for, to wipe it.
    [[nodiscard]] std::span<std::byte> bytes(std::size_t size) noexcept;

private:
    friend class Client;
    Slot(Client& owner, std::uint32_t index) noexcept : owner_{&owner}, index_{index} {}
    Client* owner_ = nullptr;
    std::uint32_t index_ = 0;
    std::uint32_t used_ = 0;
};

struct Request {
    Op op = Op::Flush;
    ResourceId resource;
    std::uint64_t offset = 0;  ///< bytes from the start of the disk; 0 for other resources
    std::uint32_t length = 0;  ///< bytes of the slot to send, or room in it to receive; bytes to discard
    Slot slot;                 ///< empty for Flush, Discard, WriteZeroes
    std::uint64_t cookie = 0;  ///< comes back unchanged; never leaves this process
};

struct Completion {
    ResourceId resource;
    Op op = Op::Flush;
    Status status = Status::Ok;
    std::uint32_t length = 0;  ///< bytes read or received; never more than was asked for
    Slot slot;
    std::uint64_t cookie = 0;
};

/// One thread only (the VM's device thread).
class Client {
public:
    /// `memory` is the shared memfd (kSharedBytes); `requests` wakes the I/O process, `completions`
    /// wakes us.
    static Result<std::unique_ptr<Client>> create(const UniqueFd& memory, EventFd requests,
                                                  EventFd completions);
    virtual ~Client() = default;
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// A free slot, or none while all are in use: try again after the next completion.
    [[nodiscard]] virtual std::optional<Slot> take_slot() noexcept = 0;
    /// Queues a request. False, and nothing is taken from `request`, while the ring is full.
    [[nodiscard]] virtual bool submit(Request& request) noexcept = 0;
    /// Makes everything queued visible and wakes the I/O process if it sleeps. Once a batch.
    virtual void flush() noexcept = 0;
    /// The next completion. A Peer error means the I/O process broke the protocol: end the VM.
    [[nodiscard]] virtual Result<std::optional<Completion>> next_completion() noexcept = 0;
    /// Asks to be woken through completions() when something completes; false when something already
    /// has (do not sleep). Call before blocking.
    [[nodiscard]] virtual bool arm() noexcept = 0;
    [[nodiscard]] virtual const EventFd& completions() const noexcept = 0;

protected:
    Client() = default;
    static Slot make_slot(Client& owner, std::uint32_t index) noexcept { return {owner, index}; }
    static std::uint32_t index_of(const Slot& slot) noexcept { return slot.index_; }

private:
    friend class Slot;
    virtual std::span<std::byte> slot_bytes(std::uint32_t index) noexcept = 0;
    /// Wipes the first `used` bytes and makes the slot free.
    virtual void give_back(std::uint32_t index, std::uint32_t used) noexcept = 0;
};

}  // namespace holdfast::io
