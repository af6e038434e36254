// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.hpp"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "cli/output.hpp"

namespace holdfast::cli {
namespace {

// PIPE_BUF: a pipe that poll() calls writable takes this much without blocking (pipe(7)).
constexpr std::size_t kChunk = 4096;
constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

// For the crash handler, which can be given nothing else. Written before the handler is installed.
termios g_before;

void restore_and_die(int signal) {
    ::tcsetattr(STDIN_FILENO, TCSANOW, &g_before);
    ::raise(signal);  // SA_RESETHAND: the default action now
}

void on_crash(void (*handler)(int)) {
    struct sigaction action{};
    action.sa_handler = handler;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (const int signal : kCrashes) ::sigaction(signal, &action, nullptr);
}

}  // namespace

RawTerminal::RawTerminal() {
    // A background job must not touch the terminal: SIGTTOU and SIGTTIN would stop it.
    if (::tcgetattr(STDIN_FILENO, &g_before) < 0 || ::tcgetpgrp(STDIN_FILENO) != ::getpgrp()) return;
    termios raw = g_before;
    ::cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    on_crash(restore_and_die);
    active_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

RawTerminal::~RawTerminal() {
    if (!active_) return;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &g_before);
    on_crash(SIG_DFL);
}

EscapeFilter::Command EscapeFilter::feed(std::string_view typed, std::string& out) {
    constexpr char ctrl_a = 1;
    for (const char c : typed) {
        if (!after_escape_) {
            if (c == ctrl_a) after_escape_ = true;
            else out += c;
            continue;
        }
        after_escape_ = false;
        switch (c) {
            case 'x':
            case 'X': return Command::Leave;
            case 'h':
            case 'H':
            case '?': return Command::Help;
            case 'a':
            case 'A':
            case ctrl_a: out += ctrl_a; break;
            default: out += c; break;
        }
    }
    return Command::None;
}

ConsoleRelay::ConsoleRelay(UniqueFd socket, const char* leave_words)
    : socket_{std::move(socket)}, leave_words_{leave_words} {
    // A terminal that is not ours to use (a background job) is not read either.
    if (::isatty(STDIN_FILENO) == 1 && !terminal_.active()) input_open_ = false;
}

void ConsoleRelay::prepare(PollSet& polls) {
    const auto when = [&](bool wanted, int fd, short events) {
        return wanted ? polls.add(fd, events) : PollSet::kNone;
    };
    const bool receive = to_user_.empty() && !closed_;
    const bool send = !to_guest_.empty() && !closed_;
    output_slot_ = when(!to_user_.empty(), STDOUT_FILENO, POLLOUT);
    input_slot_ = when(input_open_ && to_guest_.empty(), STDIN_FILENO, POLLIN);
    socket_slot_ = when(receive || send, socket_.get(),
                        static_cast<short>((receive ? POLLIN : 0) | (send ? POLLOUT : 0)));
}

bool ConsoleRelay::advance(const PollSet& polls) {
    if (polls.ready(input_slot_) && read_input()) return true;
    if (polls.ready(output_slot_)) show();
    if (polls.ready(socket_slot_)) {
        if (to_user_.empty()) {
            receive();
            // Most outputs take it at once: save a round through poll.
            PollSet output;
            const auto slot = output.add(STDOUT_FILENO, POLLOUT);
            output.wait(std::chrono::milliseconds{0});
            if (output.ready(slot)) show();
        }
        if (!to_guest_.empty()) {
            const ssize_t sent =
                ::send(socket_.get(), to_guest_.data(), to_guest_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent > 0) to_guest_.erase(0, static_cast<std::size_t>(sent));
        }
    }
    return false;
}

bool ConsoleRelay::read_input() {
    std::array<char, kChunk> typed;
    const ssize_t got = ::read(STDIN_FILENO, typed.data(), typed.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return false;
    if (got <= 0) {  // its end is not the VM's end
        input_open_ = false;
        return false;
    }
    const std::string_view text{typed.data(), static_cast<std::size_t>(got)};
    if (!terminal_.active()) {
        to_guest_ += text;
        return false;
    }
    switch (escapes_.feed(text, to_guest_)) {
        case EscapeFilter::Command::Leave: return true;
        case EscapeFilter::Command::Help:
            print_error("\nCtrl-A x   {}\nCtrl-A a   send Ctrl-A\nCtrl-A h   this help\n", leave_words_);
            return false;
        case EscapeFilter::Command::None: return false;
    }
    return false;
}

void ConsoleRelay::receive() {
    to_user_.resize(kChunk);
    const ssize_t got = ::recv(socket_.get(), to_user_.data(), kChunk, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) closed_ = true;
    to_user_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
}

void ConsoleRelay::show() {
    if (to_user_.empty()) return;
    if (!output_open_) {
        to_user_.clear();
        return;
    }
    const ssize_t put = ::write(STDOUT_FILENO, to_user_.data(), to_user_.size());
    if (put > 0) to_user_.erase(0, static_cast<std::size_t>(put));
    // Nobody reads any more: the guest's words go nowhere, as on a terminal that is switched off.
    else if (put < 0 && errno != EINTR && errno != EAGAIN) output_open_ = false;
}

void ConsoleRelay::drain() {
    while (true) {
        if (to_user_.empty()) receive();
        if (to_user_.empty()) return;
        PollSet output;
        const auto slot = output.add(STDOUT_FILENO, POLLOUT);
        output.wait(std::chrono::seconds{1});
        if (!output.ready(slot)) return;
        show();
    }
}

}  // namespace holdfast::cli
