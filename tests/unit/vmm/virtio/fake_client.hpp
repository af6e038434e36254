// SPDX-License-Identifier: Apache-2.0
// An io::Client without a process behind it: requests are kept until the test completes them.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "vmm/io/client.hpp"

namespace holdfast::io {

class FakeClient final : public Client {
public:
    // The arena is not initialised: most of it is never touched.
    explicit FakeClient(std::size_t slots = 128)
        : arena_{std::make_unique_for_overwrite<std::byte[]>(slots * kSlotSize)}, given_out_(slots, false) {}

    std::optional<Slot> take_slot() noexcept override {
        for (std::size_t i = 0; i < given_out_.size(); ++i) {
            if (given_out_[i]) continue;
            given_out_[i] = true;
            return make_slot(*this, static_cast<std::uint32_t>(i));
        }
        return std::nullopt;
    }
    bool submit(Request& request) noexcept override {
        if (queued.size() >= ring_room) return false;
        queued.push_back(std::move(request));
        return true;
    }
    void flush() noexcept override {}
    Result<std::optional<Completion>> next_completion() noexcept override {
        if (broken) return peer_fault("broken for the test");
        if (done_.empty()) return std::optional<Completion>{};
        auto completion = std::move(done_.front());
        done_.pop_front();
        return std::optional{std::move(completion)};
    }
    bool arm() noexcept override { return done_.empty() && !broken; }
    const EventFd& completions() const noexcept override { return event_; }

    /// Completes a queued request; `length` counts for Read and Receive.
    void complete(std::size_t index, Status status = Status::Ok, std::optional<std::uint32_t> length = {}) {
        Request request = std::move(queued.at(index));
        queued.erase(queued.begin() + static_cast<std::ptrdiff_t>(index));
        const bool reads = request.op == Op::Read || request.op == Op::Receive;
        const std::uint32_t answered = reads && status == Status::Ok ? length.value_or(request.length) : 0;
        done_.push_back(
            {request.resource, request.op, status, answered, std::move(request.slot), request.cookie});
        event_.signal();
    }
    /// Answers the first posted Receive of a resource with these bytes.
    bool deliver(ResourceId resource, std::span<const std::byte> bytes) {
        for (std::size_t i = 0; i < queued.size(); ++i) {
            if (queued[i].op != Op::Receive || queued[i].resource != resource) continue;
            const auto slot = queued[i].slot.bytes(bytes.size());
            std::memcpy(slot.data(), bytes.data(), bytes.size());
            complete(i, Status::Ok, static_cast<std::uint32_t>(bytes.size()));
            return true;
        }
        return false;
    }
    /// Does to `disk` what the queued disk requests ask, in order.
    void serve(std::span<std::byte> disk) {
        for (std::size_t i = 0; i < queued.size();) {
            Request& request = queued[i];
            if (request.op == Op::Receive || request.op == Op::Send) {
                ++i;
                continue;
            }
            const bool flush = request.op == Op::Flush;
            if (!flush && (request.offset > disk.size() || request.length > disk.size() - request.offset)) {
                complete(i, Status::OutOfRange);
                continue;
            }
            const auto part = flush ? std::span<std::byte>{} : disk.subspan(request.offset, request.length);
            if (request.op == Op::Read)
                std::memcpy(request.slot.bytes(part.size()).data(), part.data(), part.size());
            if (request.op == Op::Write)
                std::memcpy(part.data(), request.slot.bytes(part.size()).data(), part.size());
            if (request.op == Op::Discard || request.op == Op::WriteZeroes)
                std::memset(part.data(), 0, part.size());
            complete(i);
        }
    }
    [[nodiscard]] std::size_t slots_in_use() const {
        return static_cast<std::size_t>(std::ranges::count(given_out_, true));
    }

    std::size_t ring_room = 512;
    bool broken = false;

private:
    std::span<std::byte> slot_bytes(std::uint32_t index) noexcept override {
        return {arena_.get() + index * kSlotSize, kSlotSize};
    }
    void give_back(std::uint32_t index, std::uint32_t) noexcept override { given_out_[index] = false; }

    std::unique_ptr<std::byte[]> arena_;
    std::vector<bool> given_out_;
    EventFd event_ = EventFd::create().value();

public:
    std::deque<Request> queued;  // after what its slots go back to

private:
    std::deque<Completion> done_;
};

}  // namespace holdfast::io
