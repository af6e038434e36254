// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/serial.hpp"

#include <algorithm>
#include <utility>

#include "sys/log.hpp"

namespace holdfast::legacy {
namespace {

// PC16550D, table II and section 8.
namespace reg {
enum : std::uint8_t { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
}
namespace ier {
enum : std::uint8_t { ERBFI = 1, ETBEI = 2, ELSI = 4, EDSSI = 8, kAll = 0x0f };
}
namespace iir {
enum : std::uint8_t {
    ModemStatus = 0x00,
    None = 0x01,
    ThrEmpty = 0x02,
    ReceivedData = 0x04,
    LineStatus = 0x06,
    Timeout = 0x0c,
    FifosEnabled = 0xc0,
};
}
namespace fcr {
enum : std::uint8_t { Enable = 1, ClearReceive = 2, ClearTransmit = 4, kKept = 0xc9 };
}
namespace lcr {
enum : std::uint8_t { DLAB = 0x80 };
}
namespace mcr {
enum : std::uint8_t { DTR = 1, RTS = 2, OUT1 = 4, OUT2 = 8, Loop = 0x10, kAll = 0x1f };
}
namespace lsr {
enum : std::uint8_t { DR = 1, OE = 2, THRE = 0x20, TEMT = 0x40 };
}
namespace msr {
enum : std::uint8_t { DCTS = 1, DDSR = 2, TERI = 4, DDCD = 8, CTS = 0x10, DSR = 0x20, RI = 0x40, DCD = 0x80 };
}

constexpr std::array<std::uint8_t, 4> kTriggerLevels{1, 4, 8, 14};

}  // namespace

void Serial::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    for (std::byte& byte : out) byte = std::byte{read_register(offset++)};
}

void Serial::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    for (const std::byte byte : in) write_register(offset++, std::to_integer<std::uint8_t>(byte));
}

std::uint8_t Serial::read_register(std::uint64_t offset) noexcept {
    std::uint8_t value = 0xff;
    bool room = false;
    {
        Lock hold{lock_};
        switch (offset) {
            case reg::RBR_THR: value = latch_selected() ? divisor_low_ : pop(); break;
            case reg::IER: value = latch_selected() ? divisor_high_ : ier_; break;
            case reg::IIR_FCR: value = identify(); break;
            case reg::LCR: value = lcr_; break;
            case reg::MCR: value = mcr_; break;
            case reg::LSR:
                // Sent at once, hence always empty, unless nobody takes the bytes away: then a driver
                // that polls waits. Reading as empty also when unused matters: Linux waits for it.
                value = sink_.ready() || (mcr_ & mcr::Loop) != 0 ? lsr::THRE | lsr::TEMT : 0;
                value |= count_ > 0 ? lsr::DR : 0;
                value |= std::exchange(line_errors_, std::uint8_t{0});
                break;
            case reg::MSR: value = modem_lines() | std::exchange(modem_changes_, std::uint8_t{0}); break;
            case reg::SCR: value = scratch_; break;
            default: break;
        }
        room = std::exchange(room_, false);
    }
    if (room) sink_.input_room();
    return value;
}

void Serial::write_register(std::uint64_t offset, std::uint8_t value) noexcept {
    bool raise = false;
    bool room = false;
    bool transmits = false;
    {
        Lock hold{lock_};
        const std::uint8_t before = causes();
        switch (offset) {
            case reg::RBR_THR:
                if (latch_selected()) {
                    divisor_low_ = value;
                } else if ((mcr_ & mcr::Loop) != 0) {
                    push(value);
                    sent_ = true;
                } else {
                    transmits = true;
                }
                break;
            case reg::IER:
                if (latch_selected()) {
                    divisor_high_ = value;
                    break;
                }
                // Enabling the interrupt asks for one if the register is empty at that time (data
                // sheet 8.5). Linux tests for this and falls back to a timer where it is missing.
                if ((value & ~ier_ & ier::ETBEI) != 0 && sink_.ready()) sent_ = true;
                ier_ = value & ier::kAll;
                break;
            case reg::IIR_FCR: set_fifo_control(value); break;
            case reg::LCR: lcr_ = value; break;
            case reg::MCR: set_modem_control(value); break;
            case reg::SCR: scratch_ = value; break;
            default: break;  // LSR and MSR are read-only
        }
        raise = (causes() & ~before) != 0;
        room = std::exchange(room_, false);
    }
    if (transmits) transmit(value);
    if (room) sink_.input_room();
    if (raise) interrupt_.trigger();
}

void Serial::transmit(std::uint8_t value) noexcept {
    const std::byte byte{value};
    if (sink_.write({&byte, 1}) == 0) {
        log::warn("serial.output_dropped", {{"total", ++dropped_}});
        return;  // output_ready() will say when to go on
    }
    if (!sink_.ready()) return;
    bool raise = false;
    {
        Lock hold{lock_};
        const std::uint8_t before = causes();
        sent_ = true;
        raise = (causes() & ~before) != 0;
    }
    if (raise) interrupt_.trigger();
}

std::size_t Serial::receive(std::span<const std::byte> bytes) noexcept {
    std::size_t taken = 0;
    bool raise = false;
    {
        Lock hold{lock_};
        const std::uint8_t before = causes();
        // In loopback the receiver is cut off from its pin; what comes waits until that ends.
        if ((mcr_ & mcr::Loop) == 0) taken = std::min(bytes.size(), fifo_room());
        for (const std::byte byte : bytes.first(taken)) push(std::to_integer<std::uint8_t>(byte));
        starved_ = taken < bytes.size();
        raise = (causes() & ~before) != 0;
    }
    if (raise) interrupt_.trigger();
    return taken;
}

void Serial::output_ready() noexcept {
    bool raise = false;
    {
        Lock hold{lock_};
        const std::uint8_t before = causes();
        sent_ = true;
        raise = (causes() & ~before) != 0;
    }
    if (raise) interrupt_.trigger();
}

std::uint8_t Serial::causes() const noexcept {
    std::uint8_t active = 0;
    if (count_ > 0) active |= ier::ERBFI;
    if (sent_) active |= ier::ETBEI;
    if (line_errors_ != 0) active |= ier::ELSI;
    if (modem_changes_ != 0) active |= ier::EDSSI;
    return active & ier_;
}

/// Data sheet, table IV: the most urgent source. Only reading "THR empty" acknowledges anything.
std::uint8_t Serial::identify() noexcept {
    const bool fifos = (fcr_ & fcr::Enable) != 0;
    const std::uint8_t mode = fifos ? iir::FifosEnabled : 0;
    const std::uint8_t active = causes();
    if ((active & ier::ELSI) != 0) return mode | iir::LineStatus;
    if ((active & ier::ERBFI) != 0) {
        // Below the trigger level a real port waits four characters' time, which is nothing here.
        const bool full = !fifos || count_ >= kTriggerLevels.at(fcr_ >> 6);
        return mode | (full ? iir::ReceivedData : iir::Timeout);
    }
    if ((active & ier::ETBEI) != 0) {
        sent_ = false;
        return mode | iir::ThrEmpty;
    }
    if ((active & ier::EDSSI) != 0) return mode | iir::ModemStatus;
    return mode | iir::None;
}

std::uint8_t Serial::modem_lines() const noexcept {
    if ((mcr_ & mcr::Loop) == 0) return msr::DCD | msr::DSR | msr::CTS;  // somebody listens
    std::uint8_t lines = 0;
    if ((mcr_ & mcr::RTS) != 0) lines |= msr::CTS;
    if ((mcr_ & mcr::DTR) != 0) lines |= msr::DSR;
    if ((mcr_ & mcr::OUT1) != 0) lines |= msr::RI;
    if ((mcr_ & mcr::OUT2) != 0) lines |= msr::DCD;
    return lines;
}

bool Serial::latch_selected() const noexcept { return (lcr_ & lcr::DLAB) != 0; }

std::size_t Serial::fifo_room() const noexcept {
    const std::size_t size = (fcr_ & fcr::Enable) != 0 ? kFifo : 1;
    return size - std::min(size, count_);
}

void Serial::push(std::uint8_t value) noexcept {
    if (fifo_room() == 0) {
        line_errors_ |= lsr::OE;
        return;
    }
    fifo_[(head_ + count_++) % kFifo] = value;
}

std::uint8_t Serial::pop() noexcept {
    if (count_ == 0) return 0;
    const std::uint8_t value = fifo_[head_];
    head_ = (head_ + 1) % kFifo;
    // Not before it is empty: then the next bytes raise an edge of their own.
    if (--count_ == 0) room_ = std::exchange(starved_, false);
    return value;
}

void Serial::clear_input() noexcept {
    count_ = 0;
    if (starved_) room_ = true;
    starved_ = false;
}

void Serial::set_fifo_control(std::uint8_t value) noexcept {
    const bool switched = ((value ^ fcr_) & fcr::Enable) != 0;
    if (switched || (value & fcr::ClearReceive) != 0) clear_input();
    fcr_ = (value & fcr::Enable) != 0 ? value & fcr::kKept : 0;
}

void Serial::set_modem_control(std::uint8_t value) noexcept {
    const std::uint8_t before = modem_lines();
    const bool looped = (mcr_ & mcr::Loop) != 0;
    mcr_ = value & mcr::kAll;
    const std::uint8_t now = modem_lines();
    const auto changed = static_cast<std::uint8_t>(before ^ now);
    if ((changed & msr::CTS) != 0) modem_changes_ |= msr::DCTS;
    if ((changed & msr::DSR) != 0) modem_changes_ |= msr::DDSR;
    if ((changed & before & msr::RI) != 0) modem_changes_ |= msr::TERI;
    if ((changed & msr::DCD) != 0) modem_changes_ |= msr::DDCD;
    // Bytes from outside were refused while looped, whatever room there was.
    if (looped && (mcr_ & mcr::Loop) == 0) room_ = std::exchange(starved_, false);
}

}  // namespace holdfast::legacy
