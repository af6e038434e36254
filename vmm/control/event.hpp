// SPDX-License-Identifier: Apache-2.0
// What a control client is told without asking.
#pragma once

#include <cstdint>

namespace holdfast::control {

enum class EventKind : std::uint8_t { Stop, Resume, Shutdown, Reset, Powerdown, GuestPanicked };

/// QEMU's ShutdownCause, for Shutdown and Reset. From GuestShutdown on it was the guest.
enum class Cause : std::uint8_t {
    HostError,
    HostQmpQuit,
    HostQmpSystemReset,
    HostSignal,
    GuestShutdown,
    GuestReset,
    GuestPanic,
};

/// For GuestPanicked: what happens to the VM now.
enum class PanicAction : std::uint8_t { Pause, Poweroff, Run };

struct Event {
    EventKind kind = EventKind::Stop;
    Cause cause = Cause::HostError;
    PanicAction action = PanicAction::Poweroff;
};

}  // namespace holdfast::control
