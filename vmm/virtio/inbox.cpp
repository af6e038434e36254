// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/inbox.hpp"

#include "sys/log.hpp"

namespace holdfast::virtio {

void Inbox::post() noexcept {
    while (!closed_ && posted_ + waiting_ < kDepth) {
        auto slot = client_.take_slot();
        if (!slot) return;
        io::Request request{.op = io::Op::Receive,
                            .resource = resource_,
                            .length = static_cast<std::uint32_t>(io::kSlotSize),
                            .slot = std::move(*slot)};
        if (!client_.submit(request)) return;
        ++posted_;
    }
}

void Inbox::accept(io::Completion completion) noexcept {
    check(posted_ > 0, "Receive completed that was not posted");
    --posted_;
    if (completion.status != io::Status::Ok) {
        if (!closed_) log::error("virtio.receive", {{"resource", static_cast<unsigned>(resource_)}});
        closed_ = true;
        return;
    }
    messages_[(first_ + waiting_++) % kDepth] = {std::move(completion.slot), completion.length};
}

std::span<std::byte> Inbox::front() noexcept {
    Message& message = messages_[first_];
    return message.slot.bytes(message.length);
}

void Inbox::drop_front() noexcept {
    const Message gone = std::move(messages_[first_]);  // its slot goes back now
    first_ = (first_ + 1) % kDepth;
    --waiting_;
}

void Inbox::clear() noexcept {
    while (!empty()) drop_front();
}

}  // namespace holdfast::virtio
