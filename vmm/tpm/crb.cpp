// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm/crb.hpp"

#include <algorithm>
#include <cstring>

#include "sys/result.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::tpm {
namespace {

// Registers of one locality, by offset (PTP 1.05 table 26).
namespace reg {
constexpr std::uint64_t LOC_STATE = 0x00;
constexpr std::uint64_t LOC_CTRL = 0x08;
constexpr std::uint64_t LOC_STS = 0x0c;
constexpr std::uint64_t INTF_ID = 0x30;
constexpr std::uint64_t INTF_ID_HIGH = 0x34;
constexpr std::uint64_t CTRL_REQ = 0x40;
constexpr std::uint64_t CTRL_STS = 0x44;
constexpr std::uint64_t CTRL_CANCEL = 0x48;
constexpr std::uint64_t CTRL_START = 0x4c;
constexpr std::uint64_t CTRL_CMD_SIZE = 0x58;
constexpr std::uint64_t CTRL_CMD_LADDR = 0x5c;
constexpr std::uint64_t CTRL_RSP_SIZE = 0x64;
constexpr std::uint64_t CTRL_RSP_ADDR = 0x68;
}  // namespace reg

namespace loc_state {
constexpr std::uint32_t tpmEstablished = 1U << 0;  // 1: no dynamic launch has been
constexpr std::uint32_t locAssigned = 1U << 1;
constexpr std::uint32_t tpmRegValidSts = 1U << 7;
}  // namespace loc_state
namespace loc_ctrl {
constexpr std::uint32_t requestAccess = 1U << 0;
constexpr std::uint32_t relinquish = 1U << 1;
}  // namespace loc_ctrl
constexpr std::uint32_t kGranted = 1U << 0;  // LOC_STS
namespace ctrl_req {
constexpr std::uint32_t cmdReady = 1U << 0;
constexpr std::uint32_t goIdle = 1U << 1;
}  // namespace ctrl_req
namespace ctrl_sts {
constexpr std::uint32_t tpmSts = 1U << 0;
constexpr std::uint32_t tpmIdle = 1U << 1;
}  // namespace ctrl_sts
constexpr std::uint32_t kInvoke = 1U << 0;  // CTRL_START and CTRL_CANCEL

// INTF_ID: CRB is what there is and what is active, its version is 1, locality 0 only.
constexpr std::uint32_t kInterfaceCrb = 1U << 0;
constexpr std::uint32_t kInterfaceVersion1 = 1U << 4;
constexpr std::uint32_t kTransfer64 = 3U << 11;
constexpr std::uint32_t kCapCrb = 1U << 14;
constexpr std::uint32_t kSelectorCrb = 1U << 17;
constexpr std::uint32_t kSelectorLocked = 1U << 19;
constexpr std::uint32_t kInterfaceId =
    kInterfaceCrb | kInterfaceVersion1 | kTransfer64 | kCapCrb | kSelectorCrb | kSelectorLocked;
// libtpms, which does the work, calls its vendor IBM; a device number of its own it does not have.
constexpr std::uint32_t kVendorIbm = 0x1014;

constexpr std::uint64_t kWord = sizeof(std::uint32_t);

}  // namespace

void Crb::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    const Lock hold{lock_};
    for (std::byte& byte : out) {
        const std::uint64_t at = offset++;
        byte = static_cast<std::byte>(read_register(at & ~(kWord - 1)) >> (8 * (at % kWord)));
    }
}

std::uint32_t Crb::read_register(std::uint64_t offset) const noexcept {
    switch (offset) {
        case reg::LOC_STATE:
            return loc_state::tpmEstablished | loc_state::tpmRegValidSts |
                   (granted_ ? loc_state::locAssigned : 0);
        case reg::LOC_STS: return granted_ ? kGranted : 0;
        case reg::INTF_ID: return kInterfaceId;
        case reg::INTF_ID_HIGH: return kVendorIbm;
        case reg::CTRL_REQ: return idle_wanted_ ? ctrl_req::goIdle : 0;
        case reg::CTRL_STS:
            return (fatal_ ? ctrl_sts::tpmSts : 0) | (state_ == State::Idle ? ctrl_sts::tpmIdle : 0);
        case reg::CTRL_CANCEL: return cancel_ ? kInvoke : 0;
        case reg::CTRL_START: return state_ == State::Executing ? kInvoke : 0;
        case reg::CTRL_CMD_SIZE:
        case reg::CTRL_RSP_SIZE: return kCrbBufferSize;
        case reg::CTRL_CMD_LADDR:
        case reg::CTRL_RSP_ADDR: return static_cast<std::uint32_t>(kCrbBuffer);
        default: return 0;  // reserved, write-only, an interrupt's, or an upper half
    }
}

/// All bits that mean anything are in the lowest byte of a register, so an access that begins there is one
/// to the register, whatever its size; others are to nothing.
void Crb::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    if (offset % kWord != 0) return;
    while (!in.empty()) {
        Le<std::uint32_t> value;
        const std::size_t size = std::min<std::size_t>(in.size(), sizeof value);
        std::memcpy(&value, in.data(), size);
        Notice notice = Notice::None;
        {
            const Lock hold{lock_};
            notice = write_register(offset, value.get());
        }
        switch (notice) {
            case Notice::None: break;
            case Notice::Start: queue_.command_started(); break;
            case Notice::Cancel: queue_.cancel_requested(); break;
        }
        offset += size;
        in = in.subspan(size);
    }
}

Crb::Notice Crb::write_register(std::uint64_t offset, std::uint32_t value) noexcept {
    switch (offset) {
        case reg::LOC_CTRL: set_locality(value); return Notice::None;
        case reg::CTRL_REQ: return request(value);
        case reg::CTRL_CANCEL:
            cancel_ = (value & kInvoke) != 0;
            return cancel_ && state_ == State::Executing ? Notice::Cancel : Notice::None;
        case reg::CTRL_START:
            if ((value & kInvoke) == 0 || state_ != State::Ready || !granted_ || fatal_) return Notice::None;
            state_ = State::Executing;
            return Notice::Start;
        default: return Notice::None;
    }
}

/// There is nobody to seize from, and no dynamic launch to reset.
void Crb::set_locality(std::uint32_t value) noexcept {
    if ((value & loc_ctrl::requestAccess) != 0) granted_ = true;
    else if ((value & loc_ctrl::relinquish) != 0) granted_ = false;
}

Crb::Notice Crb::request(std::uint32_t value) noexcept {
    const bool idle = (value & ctrl_req::goIdle) != 0;
    if (idle == ((value & ctrl_req::cmdReady) != 0)) return Notice::None;  // neither, or both
    if (state_ != State::Executing) {
        state_ = idle ? State::Idle : State::Ready;
        return Notice::None;
    }
    // A command runs: readiness comes by itself, idleness when it has ended; its response is not wanted.
    if (!idle) return Notice::None;
    idle_wanted_ = true;
    return Notice::Cancel;
}

void Crb::take_command(std::span<std::byte, kCrbBufferSize> copy) const noexcept {
    std::memcpy(copy.data(), buffer_.data(), copy.size());
}

void Crb::complete(std::span<const std::byte> response) noexcept {
    check(response.size() <= buffer_.size(), "TPM response larger than its buffer");
    const Lock hold{lock_};
    if (state_ != State::Executing) return;
    // Before START reads 0: the lock orders the two for whoever then reads the register.
    if (!idle_wanted_) std::memcpy(buffer_.data(), response.data(), response.size());
    state_ = idle_wanted_ ? State::Idle : State::Ready;
    idle_wanted_ = false;
}

void Crb::fail(std::span<const std::byte> response) noexcept {
    {
        const Lock hold{lock_};
        fatal_ = true;
    }
    complete(response);
}

}  // namespace holdfast::tpm
