// SPDX-License-Identifier: Apache-2.0
// What comes from the outside for a guest: Receive requests kept posted with the I/O process, and
// messages that wait for the guest's buffers.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/io/client.hpp"

namespace holdfast::virtio {

/// Device thread only.
class Inbox {
public:
    /// Posted and waiting together; a guest that takes nothing holds this many slots, no more.
    static constexpr std::size_t kDepth = 32;

    Inbox(io::Client& client, io::ResourceId resource) noexcept : client_{client}, resource_{resource} {}

    /// Posts as many Receive requests as may be.
    void post() noexcept;
    /// Takes a completed Receive. After an error nothing is posted any more: the other end is gone.
    void accept(io::Completion completion) noexcept;
    [[nodiscard]] bool empty() const noexcept { return waiting_ == 0; }
    /// The oldest message; not empty().
    [[nodiscard]] std::span<std::byte> front() noexcept;
    void drop_front() noexcept;
    /// Forgets waiting messages; what is posted stays posted.
    void clear() noexcept;

private:
    struct Message {
        io::Slot slot;
        std::uint32_t length = 0;
    };
    io::Client& client_;
    const io::ResourceId resource_;
    std::array<Message, kDepth> messages_;
    std::size_t first_ = 0;
    std::size_t waiting_ = 0;
    std::size_t posted_ = 0;
    bool closed_ = false;
};

}  // namespace holdfast::virtio
