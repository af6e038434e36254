// SPDX-License-Identifier: Apache-2.0
// Interrupts, doorbells and memory slots that only remember what was asked of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "vmm/bus/doorbell.hpp"
#include "vmm/bus/slots.hpp"
#include "vmm/irq/line.hpp"

namespace holdfast::irq {

class FakeMsi final : public MsiSource {
public:
    struct Record {
        std::optional<MsiMessage> message;
        int routes = 0;  ///< to somewhere
        int triggers = 0;
        bool pending = false;
        const EventFd* event = nullptr;  ///< who triggers it instead of us
    };
    Result<std::unique_ptr<MsiVector>> allocate() override {
        if (vectors.size() == most) return input_error("no more vectors");
        vectors.push_back(std::make_shared<Record>());
        return std::unique_ptr<MsiVector>{std::make_unique<Vector>(vectors.back())};
    }
    Result<std::unique_ptr<MsiVector>> allocate(const EventFd& event) override {
        auto vector = HF_TRY(allocate());
        vectors.back()->event = &event;
        return vector;
    }
    std::vector<std::shared_ptr<Record>> vectors;
    std::size_t most = 1000;

private:
    // Shared: the test looks at a record after its vector is gone.
    class Vector final : public MsiVector {
    public:
        explicit Vector(std::shared_ptr<Record> record) : record_{std::move(record)} {}
        Result<void> route(const std::optional<MsiMessage>& message) override {
            record_->message = message;
            if (!message) return {};
            ++record_->routes;
            if (std::exchange(record_->pending, false)) ++record_->triggers;
            return {};
        }
        void trigger() noexcept override {
            if (record_->message) ++record_->triggers;
            else record_->pending = true;
        }
        bool is_pending() const noexcept override { return record_->pending; }
        void forget() noexcept override { record_->pending = false; }

    private:
        std::shared_ptr<Record> record_;
    };
};

}  // namespace holdfast::irq

namespace holdfast::bus {

class FakeDoorbells final : public Doorbells {
public:
    Result<void> attach(std::uint64_t address, const EventFd& event) override {
        if (refuse) return input_error("refused for the test");
        bells.push_back({address, &event});
        return {};
    }
    void detach(std::uint64_t address, const EventFd& event) noexcept override {
        std::erase_if(bells,
                      [&](const Bell& bell) { return bell.address == address && bell.event == &event; });
    }
    /// What KVM does on a guest write: true if the write ends there.
    bool ring(std::uint64_t address) const {
        const auto bell = std::ranges::find(bells, address, &Bell::address);
        if (bell == bells.end()) return false;
        bell->event->signal();
        return true;
    }
    struct Bell {
        std::uint64_t address = 0;
        const EventFd* event = nullptr;
    };
    std::vector<Bell> bells;
    bool refuse = false;
};

class FakeSlots final : public Slots {
public:
    Result<void> map(std::uint64_t address, std::span<std::byte> pages) override {
        if (refuse) return input_error("refused for the test");
        slots[address] = pages;
        return {};
    }
    void unmap(std::uint64_t address) noexcept override {
        check(slots.erase(address) == 1, "a slot is there");
    }
    std::map<std::uint64_t, std::span<std::byte>> slots;
    bool refuse = false;
};

}  // namespace holdfast::bus
