// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/client.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "sys/secret.hpp"
#include "vmm/io/ring.hpp"

namespace holdfast::io {

Slot::Slot(Slot&& other) noexcept
    : owner_{std::exchange(other.owner_, nullptr)}, index_{other.index_}, used_{other.used_} {}

Slot& Slot::operator=(Slot&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(index_, other.index_);
    std::swap(used_, other.used_);
    return *this;
}

Slot::~Slot() {
    if (owner_ != nullptr) owner_->give_back(index_, used_);
}

std::span<std::byte> Slot::bytes(std::size_t size) noexcept {
    if (owner_ == nullptr) return {};
    size = std::min(size, kSlotSize);
    used_ = std::max(used_, static_cast<std::uint32_t>(size));
    return owner_->slot_bytes(index_).first(size);
}

namespace {

bool receives(Op op) noexcept { return op == Op::Read || op == Op::Receive; }

/// Indices that are free, most recently used on top: hot in the cache, and arena pages that were
/// never needed stay untouched.
template <std::uint32_t Count>
class FreeList {
public:
    FreeList() noexcept {
        for (std::uint32_t i = 0; i < Count; ++i) free_[i] = static_cast<std::uint16_t>(Count - 1 - i);
    }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::uint32_t take() noexcept { return free_[--size_]; }
    void give(std::uint32_t index) noexcept { free_[size_++] = static_cast<std::uint16_t>(index); }

private:
    std::array<std::uint16_t, Count> free_{};
    std::uint32_t size_ = Count;
};

class RingClient final : public Client {
public:
    RingClient(SharedMemory memory, EventFd requests, EventFd completions) noexcept
        : memory_{std::move(memory)},
          wake_server_{std::move(requests)},
          wake_us_{std::move(completions)},
          requests_{memory_.rings().requests},
          completions_{memory_.rings().completions} {}

    std::optional<Slot> take_slot() noexcept override {
        if (free_slots_.empty()) return std::nullopt;
        return make_slot(*this, free_slots_.take());
    }

    bool submit(Request& request) noexcept override {
        if (free_tags_.empty()) return false;
        check(request.length <= kSlotSize || !request.slot, "request longer than its slot");
        const std::uint32_t tag = free_tags_.take();
        const bool put = requests_.put({
            .offset = request.offset,
            .length = request.length,
            .tag = tag,
            .slot = request.slot ? static_cast<std::uint16_t>(index_of(request.slot)) : kNoSlot,
            .op = static_cast<std::uint8_t>(request.op),
            .resource = static_cast<std::uint8_t>(request.resource),
            .reserved = 0,
        });
        if (!put) {  // only a server that does not move its head on gets us here
            free_tags_.give(tag);
            return false;
        }
        if (request.op != Op::Receive) ++expected_soon_;
        flights_[tag] = {std::move(request), true};
        return true;
    }

    void flush() noexcept override {
        if (requests_.publish()) wake_server_.signal();
    }

    Result<std::optional<Completion>> next_completion() noexcept override {
        const auto entry = HF_TRY(completions_.take());
        if (!entry) return std::optional<Completion>{};
        if (armed_at_) learn();
        // The entry is what the other process claims; the flight is what we know.
        if (entry->tag >= flights_.size() || !flights_[entry->tag].busy) {
            return peer_fault("completion of a request that is not under way");
        }
        if (entry->status > static_cast<std::uint8_t>(Status::NoSpace)) {
            return peer_fault("unknown completion status");
        }
        Flight& flight = flights_[entry->tag];
        const bool received = receives(flight.request.op);
        const auto status = static_cast<Status>(entry->status);
        if (entry->length > (received && status == Status::Ok ? flight.request.length : 0)) {
            return peer_fault("completion longer than its request");
        }
        flight.busy = false;
        free_tags_.give(entry->tag);
        if (flight.request.op != Op::Receive) --expected_soon_;
        Completion completion{.resource = flight.request.resource,
                              .op = flight.request.op,
                              .status = status,
                              .length = entry->length,
                              .slot = std::move(flight.request.slot),
                              .cookie = flight.request.cookie};
        // Wiped with the slot even if the caller never looks. After an error any part may be filled.
        if (received) {
            static_cast<void>(
                completion.slot.bytes(status == Status::Ok ? entry->length : flight.request.length));
        }
        return std::optional{std::move(completion)};
    }

    bool arm() noexcept override {
        if (expected_soon_ != 0 && spin_.spin([this] { return completions_.pending(); })) return false;
        if (!completions_.arm()) return false;
        if (expected_soon_ != 0 && !armed_at_) armed_at_ = Clock::now();
        return true;
    }
    const EventFd& completions() const noexcept override { return wake_us_; }

private:
    using Clock = std::chrono::steady_clock;
    struct Flight {
        Request request;
        bool busy = false;
    };

    void learn() noexcept {
        spin_.slept(static_cast<std::uint64_t>((Clock::now() - *armed_at_).count()));
        armed_at_.reset();
    }

    std::span<std::byte> slot_bytes(std::uint32_t index) noexcept override { return memory_.slot(index); }
    void give_back(std::uint32_t index, std::uint32_t used) noexcept override {
        wipe(memory_.slot(index).first(used));
        free_slots_.give(index);
    }

    // Before the flights: their slots go back here on destruction.
    SharedMemory memory_;
    FreeList<kSlotCount> free_slots_;
    EventFd wake_server_;
    EventFd wake_us_;
    Producer<shared::Request> requests_;
    Consumer<shared::Completion> completions_;
    FreeList<kRingEntries> free_tags_;
    std::array<Flight, kRingEntries> flights_{};
    SpinBudget spin_;
    std::optional<Clock::time_point> armed_at_;  ///< when we went to sleep for a completion
    std::uint32_t expected_soon_ = 0;  ///< requests under way that do not wait for the outside world
};

}  // namespace

Result<std::unique_ptr<Client>> Client::create(const UniqueFd& memory, EventFd requests,
                                               EventFd completions) {
    return std::unique_ptr<Client>{std::make_unique<RingClient>(HF_TRY(SharedMemory::map(memory)),
                                                                std::move(requests), std::move(completions))};
}

}  // namespace holdfast::io
