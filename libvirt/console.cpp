// SPDX-License-Identifier: Apache-2.0
#include "libvirt/console.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "sys/log.hpp"
#include "sys/socket.hpp"

namespace holdfast::libvirt {
namespace {

constexpr std::size_t kChunk = 4096;

}  // namespace

Result<std::unique_ptr<Console>> Console::create(const Chardev& chardev, Poller& poller, Tokens tokens) {
    std::unique_ptr<Console> console{new Console{chardev, poller, tokens}};
    auto [ours, theirs] = HF_TRY(socket_pair(SOCK_STREAM));
    console->guest_ = std::move(ours);
    console->guest_end_ = std::move(theirs);
    HF_TRY(set_nonblocking(console->guest_));
    HF_TRY(poller.add(console->guest_, EPOLLIN, tokens.guest));
    HF_TRY(console->open());
    return console;
}

Result<void> Console::open() {
    switch (chardev_.kind) {
        case Chardev::Kind::Pty: return open_pty();
        case Chardev::Kind::Null: filename_ = "null"; return {};
        case Chardev::Kind::Listener:
            filename_ = "unix:fd,server=on";
            listener_ = UniqueFd{::fcntl(chardev_.fd, F_DUPFD_CLOEXEC, 3)};
            if (!listener_) return os_error("use the console's socket");
            HF_TRY(set_nonblocking(listener_));
            return poller_.add(listener_, EPOLLIN, tokens_.listener);
        case Chardev::Kind::Connect:
            filename_ = "unix:" + chardev_.path;
            return set_outside(HF_TRY(connect_unix(chardev_.path)));
        case Chardev::Kind::File: break;
    }
    filename_ = "file";
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (chardev_.append ? O_APPEND : O_TRUNC);
    outside_ = UniqueFd{chardev_.fd >= 0 ? ::fcntl(chardev_.fd, F_DUPFD_CLOEXEC, 3)
                                         : ::open(chardev_.path.c_str(), flags, 0600)};
    if (!outside_) return os_error("open the console's file");
    return {};
}

Result<void> Console::open_pty() {
    UniqueFd master{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    std::array<char, 64> name;
    if (!master || ::grantpt(master.get()) < 0 || ::unlockpt(master.get()) < 0 ||
        ::ptsname_r(master.get(), name.data(), name.size()) != 0) {
        return os_error("make a pseudo terminal");
    }
    pty_slave_ = UniqueFd{::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC)};
    termios raw{};
    if (!pty_slave_ || ::tcgetattr(pty_slave_.get(), &raw) < 0) return os_error("open the pseudo terminal");
    ::cfmakeraw(&raw);
    if (::tcsetattr(pty_slave_.get(), TCSANOW, &raw) < 0) return os_error("set the pseudo terminal");
    filename_ = std::string{"pty:"} + name.data();
    return set_outside(std::move(master));
}

Result<void> Console::set_outside(UniqueFd fd) {
    HF_TRY(set_nonblocking(fd));
    HF_TRY(poller_.add(fd, EPOLLIN, tokens_.outside));
    outside_ = std::move(fd);
    return {};
}

void Console::on_ready(std::uint64_t token) {
    if (token == tokens_.listener) accept();
    if (token == tokens_.guest) from_guest();
    if (token == tokens_.outside && outside_) from_outside();
    watch();
}

void Console::accept() {
    // One client at a time, as in QEMU; others wait in the listen queue.
    if (outside_) return;
    auto client = accept_unix(listener_);
    if (!client) return;
    if (const auto taken = set_outside(std::move(*client)); !taken)
        log::warn("console.client", taken.error());
}

void Console::from_guest() {
    if (!to_guest_.empty()) {
        const ssize_t sent =
            ::send(guest_.get(), to_guest_.data(), to_guest_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) to_guest_.erase(0, static_cast<std::size_t>(sent));
    }
    std::array<char, kChunk> chunk;
    const ssize_t got = ::recv(guest_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got == 0) {  // the VM is gone; what it wrote has been read
        if (const auto removed = poller_.remove(guest_); !removed)
            log::error("console.unwatch", removed.error());
        guest_.reset();
        return;
    }
    if (got < 0 || !outside_) return;
    // SIGPIPE is ignored in this process; a full terminal takes less, and the rest is lost.
    if (::write(outside_.get(), chunk.data(), static_cast<std::size_t>(got)) < 0 && errno == EPIPE)
        drop_outside();
}

void Console::from_outside() {
    std::array<char, kChunk> chunk;
    // Not watched for input now: what is reported is that the other side has gone.
    if (!to_guest_.empty()) return drop_outside();
    const ssize_t got = ::read(outside_.get(), chunk.data(), chunk.size());
    if (got > 0) to_guest_.assign(chunk.data(), static_cast<std::size_t>(got));
    else if (got == 0 || (errno != EAGAIN && errno != EINTR)) drop_outside();
}

void Console::drop_outside() {
    if (chardev_.kind != Chardev::Kind::File) {
        if (const auto removed = poller_.remove(outside_); !removed)
            log::error("console.unwatch", removed.error());
    }
    outside_.reset();
}

// While something waits for the guest, nothing more is read for it.
void Console::watch() {
    const bool waiting = !to_guest_.empty();
    if (guest_) (void)poller_.change(guest_, waiting ? EPOLLIN | EPOLLOUT : EPOLLIN, tokens_.guest);
    if (listener_) (void)poller_.change(listener_, outside_ ? 0U : EPOLLIN, tokens_.listener);
    if (outside_ && chardev_.kind != Chardev::Kind::File) {
        (void)poller_.change(outside_, waiting ? 0U : EPOLLIN, tokens_.outside);
    }
}

}  // namespace holdfast::libvirt
