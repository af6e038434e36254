// SPDX-License-Identifier: Apache-2.0
// The user's terminal as a guest's console: raw mode with a way back, the Ctrl-A escapes, and the
// relay between standard input and output and a console socket.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/poll_set.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {

/// Standard input in raw mode if it is a terminal and ours to use; output processing stays on, so
/// our own lines end properly. Put back on destruction and when this process crashes.
class RawTerminal {
public:
    RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal();
    [[nodiscard]] bool active() const noexcept { return active_; }

private:
    bool active_ = false;
};

/// QEMU's keys: Ctrl-A x leaves, Ctrl-A h helps, Ctrl-A a is a Ctrl-A for the guest.
class EscapeFilter {
public:
    enum class Command : std::uint8_t { None, Leave, Help };
    /// Appends what is for the guest to `out`. Stops at the first command; the rest is dropped.
    Command feed(std::string_view typed, std::string& out);

private:
    bool after_escape_ = false;
};

/// Copies between a console socket and standard input and output, never blocking on either.
class ConsoleRelay {
public:
    /// `leave_words`: what Ctrl-A x does, for the help text.
    ConsoleRelay(UniqueFd socket, const char* leave_words);

    void prepare(PollSet& polls);
    /// True: the user wants to leave (Ctrl-A x).
    [[nodiscard]] bool advance(const PollSet& polls);
    /// The other side has closed the console.
    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] bool is_terminal() const noexcept { return terminal_.active(); }
    /// Shows what is left in the socket; gives up on an output that takes nothing for a second.
    void drain();

private:
    bool read_input();
    void receive();
    void show();

    RawTerminal terminal_;
    UniqueFd socket_;
    const char* leave_words_;
    EscapeFilter escapes_;
    std::string to_guest_;
    std::string to_user_;
    bool input_open_ = true;
    bool output_open_ = true;
    bool closed_ = false;
    PollSet::Slot input_slot_ = PollSet::kNone;
    PollSet::Slot output_slot_ = PollSet::kNone;
    PollSet::Slot socket_slot_ = PollSet::kNone;
};

}  // namespace holdfast::cli
