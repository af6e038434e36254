// SPDX-License-Identifier: Apache-2.0
#include "vmm/irq/msi.hpp"

#include <utility>

#include "sys/thread.hpp"

namespace holdfast::irq {
namespace {

class SignalledVector final : public MsiVector {
public:
    explicit SignalledVector(const kvm::Vm& vm) noexcept : vm_{vm} {}

    Result<void> route(const std::optional<MsiMessage>& message) override {
        const Lock hold{lock_};
        message_ = message;
        if (message_ && std::exchange(pending_, false)) vm_.signal_msi(*message_);
        return {};
    }
    void trigger() noexcept override {
        const Lock hold{lock_};
        if (message_) vm_.signal_msi(*message_);
        else pending_ = true;
    }
    bool is_pending() const noexcept override {
        const Lock hold{lock_};
        return pending_;
    }
    void forget() noexcept override {
        const Lock hold{lock_};
        pending_ = false;
    }

private:
    const kvm::Vm& vm_;
    mutable Mutex lock_;
    std::optional<MsiMessage> message_ HF_GUARDED_BY(lock_);
    bool pending_ HF_GUARDED_BY(lock_) = false;
};

/// While it is held back its event is not KVM's, and remembers that it was signalled: KVM looks when it gets
/// it.
class ForwardedVector final : public MsiVector {
public:
    ForwardedVector(kvm::Vm& vm, const EventFd& event, std::uint32_t gsi) noexcept
        : vm_{vm}, event_{event}, gsi_{gsi} {}
    ~ForwardedVector() override { static_cast<void>(route(std::nullopt)); }

    Result<void> route(const std::optional<MsiMessage>& message) override {
        if (message && message != routed_) {
            HF_TRY(vm_.route_msi(gsi_, *message));
            routed_ = message;
        }
        if (message.has_value() == connected_) return {};
        HF_TRY(message ? vm_.connect(gsi_, event_) : vm_.disconnect(gsi_, event_));
        connected_ = message.has_value();
        return {};
    }
    void trigger() noexcept override { event_.signal(); }
    /// Nothing is lost if KVM gets the event meanwhile: it is signalled once more.
    bool is_pending() const noexcept override {
        const bool pending = event_.drain();
        if (pending) event_.signal();
        return pending;
    }
    void forget() noexcept override { event_.drain(); }

private:
    kvm::Vm& vm_;
    const EventFd& event_;
    const std::uint32_t gsi_;
    std::optional<MsiMessage> routed_;
    bool connected_ = false;
};

}  // namespace

Result<std::unique_ptr<MsiVector>> KvmMsiSource::allocate() {
    return std::unique_ptr<MsiVector>{std::make_unique<SignalledVector>(vm_)};
}

Result<std::unique_ptr<MsiVector>> KvmMsiSource::allocate(const EventFd& event) {
    return std::unique_ptr<MsiVector>{
        std::make_unique<ForwardedVector>(vm_, event, HF_TRY(vm_.allocate_gsi()))};
}

}  // namespace holdfast::irq
