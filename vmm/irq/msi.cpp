// SPDX-License-Identifier: Apache-2.0
#include "vmm/irq/msi.hpp"

namespace holdfast::irq {
namespace {

class KvmMsiVector final : public MsiVector {
public:
    explicit KvmMsiVector(const kvm::Vm& vm) noexcept : vm_{vm} {}

    Result<void> route(const MsiMessage& message) override {
        const Lock hold{lock_};
        message_ = message;
        return {};
    }

    void trigger() noexcept override {
        MsiMessage message;
        {
            const Lock hold{lock_};
            message = message_;
        }
        if (message != MsiMessage{}) vm_.signal_msi(message);
    }

private:
    const kvm::Vm& vm_;
    Mutex lock_;
    MsiMessage message_ HF_GUARDED_BY(lock_);
};

}  // namespace

Result<std::unique_ptr<MsiVector>> KvmMsiSource::allocate() {
    return std::unique_ptr<MsiVector>{std::make_unique<KvmMsiVector>(vm_)};
}

}  // namespace holdfast::irq
