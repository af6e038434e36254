// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/rng.hpp"

#include <algorithm>
#include <array>

#include <sys/random.h>

#include "sys/secret.hpp"
#include "vmm/virtio/spec.hpp"

namespace holdfast::virtio {

namespace {
constexpr std::array<std::uint16_t, 1> kQueues{16};
/// A guest that is out of tokens waits for a useful amount, not for the next byte.
constexpr std::uint64_t kWorthwhile = 1024;
}  // namespace

Description Rng::describe() const noexcept {
    return {.name = "virtio-rng", .type = spec::TYPE_ENTROPY, .pci_class = 0x00ff00, .queues = kQueues};
}

void Rng::stop() noexcept {
    queue_ = nullptr;
    refill_at_.reset();
}

Result<void> Rng::run() noexcept {
    if (queue_ == nullptr) return {};
    const Clock::time_point now = Clock::now();
    if (refill_at_ && now < *refill_at_) return {};
    refill_at_.reset();
    Chain chain;
    for (int budget = kChainsPerRun; budget > 0 && HF_TRY(queue_->has_chain()); --budget) {
        const auto wait = bucket_.wait_for(kWorthwhile, now);
        if (wait.count() > 0) {
            refill_at_ = now + wait;
            break;
        }
        if (!HF_TRY(queue_->pop(chain))) break;
        std::array<std::byte, kMaxRequest> bytes;
        const std::uint64_t wanted = std::min<std::uint64_t>(chain.writable_bytes(), bytes.size());
        const std::size_t size = bucket_.take(wanted, now);
        const auto random = std::span{bytes}.first(size);
        // Never short below 256 bytes and never fails once seeded; a short one just gives less.
        const ssize_t got = ::getrandom(random.data(), random.size(), 0);
        const auto filled = random.first(got > 0 ? static_cast<std::size_t>(got) : 0);
        HF_TRY(scatter(memory_, chain.writable(), 0, filled));
        queue_->push(chain.head(), static_cast<std::uint32_t>(filled.size()));
        wipe(filled);
    }
    queue_->set_wanted(!refill_at_);
    return {};
}

}  // namespace holdfast::virtio
