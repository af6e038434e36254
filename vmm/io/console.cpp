// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/console.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/log.hpp"
#include "sys/socket.hpp"

namespace holdfast::io {
namespace {

constexpr int kStepsATurn = 16;
constexpr std::string_view kInUse = "console is in use\r\n";

/// "[holdfast: N bytes <what>]" as bytes.
struct Marker {
    Marker(std::uint64_t count, std::string_view what) noexcept {
        add("\r\n[holdfast: ");
        const auto end = std::to_chars(text.data() + size, text.data() + text.size(), count);
        size = static_cast<std::size_t>(end.ptr - text.data());
        add(" bytes ");
        add(what);
        add("]\r\n");
    }
    void add(std::string_view part) noexcept { size += part.copy(text.data() + size, text.size() - size); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::as_bytes(std::span{text}).first(size);
    }
    std::array<char, 80> text{};
    std::size_t size = 0;
};

}  // namespace

Result<BoundedLog> BoundedLog::create(UniqueFd file, std::uint64_t limit) {
    const std::uint64_t size = HF_TRY(file_size(file));
    // With O_APPEND pwrite() ignores its offset and the file could not be cut in place.
    const int flags = ::fcntl(file.get(), F_GETFL);
    if (flags < 0 || ::fcntl(file.get(), F_SETFL, flags & ~O_APPEND) < 0) {
        return os_error("take O_APPEND off the console log");
    }
    return BoundedLog{std::move(file), size, limit};
}

Result<void> BoundedLog::append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        if (size_ >= limit_) HF_TRY(cut());
        const std::size_t part = std::min<std::uint64_t>(bytes.size(), limit_ - size_);
        const ssize_t put = ::pwrite(file_.get(), bytes.data(), part, static_cast<off_t>(size_));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return os_error("write console log");
        if (put == 0) return {};
        size_ += static_cast<std::uint64_t>(put);
        bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return {};
}

// Moves the newest half to the front. The halves do not overlap, so the kernel copies without a
// buffer of ours; a crash in between leaves a log with old lines in it, never a longer one.
Result<void> BoundedLog::cut() {
    const std::uint64_t keep = limit_ / 2;
    auto from = static_cast<off_t>(size_ - keep);
    off_t to = 0;
    while (static_cast<std::uint64_t>(to) < keep) {
        const ssize_t moved =
            ::copy_file_range(file_.get(), &from, file_.get(), &to, keep - static_cast<std::uint64_t>(to), 0);
        if (moved < 0 && errno == EINTR) continue;
        if (moved <= 0) break;  // cannot be copied here: keep what was, at worst nothing
    }
    if (::ftruncate(file_.get(), to) < 0) return os_error("cut console log");
    size_ = static_cast<std::uint64_t>(to);
    return {};
}

Console::Console(UniqueFd guest, UniqueFd listener, UniqueFd client, BoundedLog log,
                 Clock::time_point now) noexcept
    : guest_{std::move(guest)},
      listener_{std::move(listener)},
      client_{std::move(client)},
      log_{std::move(log)},
      log_rate_{kLogRate, kLogRate, now} {}

Result<Console> Console::create(UniqueFd guest, UniqueFd listener, UniqueFd client, UniqueFd log,
                                Clock::time_point now) {
    HF_TRY(set_nonblocking(guest));
    HF_TRY(set_nonblocking(listener));
    BoundedLog bounded = HF_TRY(BoundedLog::create(std::move(log), kMaxConsoleLog));
    return Console{std::move(guest), std::move(listener), std::move(client), std::move(bounded), now};
}

void Console::event(Source source, std::uint32_t events) noexcept {
    const bool in = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    const bool out = (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    switch (source) {
        case Source::Guest:
            guest_readable_ |= in;
            guest_writable_ |= out;
            return;
        case Source::Listener: listener_readable_ |= in; return;
        case Source::Client:
            client_readable_ |= in;
            client_writable_ |= out;
            // Both directions are over: nobody is there any more.
            if ((events & (EPOLLHUP | EPOLLERR)) != 0) client_input_over_ = false;
            return;
    }
}

void Console::list_descriptors(std::vector<int>& into) const {
    into.insert(into.end(), {guest_.get(), listener_.get(), log_.file().get()});
    if (client_) into.push_back(client_.get());
}

void Console::wake_at(Clock::time_point when) noexcept {
    if (!deadline_ || when < *deadline_) deadline_ = when;
}

bool Console::turn(Watch& watch, Clock::time_point now) noexcept {
    deadline_.reset();
    bool any = accept_clients(watch);
    for (int i = 0; i < kStepsATurn; ++i) {
        bool step = show_output(now);
        step |= log_held(now);
        step |= take_output(now);
        step |= pass_input();
        step |= take_input();
        any |= step;
        if (!step) break;
    }
    return any;
}

bool Console::accept_clients(Watch& watch) noexcept {
    if (!listener_readable_) return false;
    auto accepted = accept_unix(listener_);
    if (!accepted) {
        listener_readable_ = false;
        return false;
    }
    if (client_) {
        [[maybe_unused]] const ssize_t told =
            ::send(accepted->get(), kInUse.data(), kInUse.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return true;
    }
    if (const auto watched = watch.watch_client(*accepted); !watched) {
        log::warn("console.refused", watched.error());
        return true;
    }
    client_ = std::move(*accepted);
    client_readable_ = client_writable_ = true;
    client_input_over_ = false;
    log::info("console.connected");
    return true;
}

void Console::drop_client() noexcept {
    client_.reset();
    to_client_.clear();
    blocked_since_.reset();
    stalled_ = false;
    unshown_ = 0;
}

// Reads from the guest when the last piece is logged and whoever reads has room for the next.
bool Console::take_output(Clock::time_point now) noexcept {
    if (!guest_readable_ || guest_closed_ || !held_.empty()) return false;
    const bool live = client_ && !stalled_;
    if (live && to_client_.size() > kClientBuffer - chunk_.size()) {
        if (blocked_since_ && now - *blocked_since_ < kStall) {
            wake_at(*blocked_since_ + kStall);
            return false;
        }
        if (blocked_since_) stalled_ = true;
        return blocked_since_.has_value();
    }
    const ssize_t got = ::recv(guest_.get(), chunk_.data(), chunk_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) return true;
    if (got < 0 && errno == EAGAIN) {
        guest_readable_ = false;
        return false;
    }
    if (got <= 0) {
        guest_closed_ = true;
        return true;
    }
    held_ = std::span{chunk_}.first(static_cast<std::size_t>(got));
    if (live) {
        to_client_.insert(to_client_.end(), held_.begin(), held_.end());
    } else if (client_) {
        unshown_ += held_.size();
    }
    return true;
}

bool Console::log_held(Clock::time_point now) noexcept {
    if (held_.empty()) return false;
    const std::size_t size = log_rate_.take(held_.size(), now);
    if (size != 0 && unlogged_ != 0) {
        to_log(Marker{std::exchange(unlogged_, 0), "not logged"}.bytes());
    }
    to_log(held_.first(size));
    held_ = held_.subspan(size);
    if (held_.empty()) return true;
    if (client_ && !stalled_) {  // somebody reads it: the log misses it, and says so
        unlogged_ += held_.size();
        held_ = {};
        return true;
    }
    // Nobody reads: the guest waits for the log.
    wake_at(now + log_rate_.wait_for(held_.size(), now));
    return size != 0;
}

void Console::to_log(std::span<const std::byte> bytes) noexcept {
    if (bytes.empty()) return;
    const auto appended = log_.append(bytes);
    if (!appended && !log_failed_) log::error("console.log", appended.error());
    log_failed_ = !appended;
}

bool Console::show_output(Clock::time_point now) noexcept {
    if (!client_ || !client_writable_ || to_client_.empty()) return false;
    const ssize_t put =
        ::send(client_.get(), to_client_.data(), to_client_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) return true;
    if (put < 0 && errno == EAGAIN) {
        client_writable_ = false;
        if (!blocked_since_) blocked_since_ = now;
        return false;
    }
    if (put < 0) {
        drop_client();
        return true;
    }
    to_client_.erase(to_client_.begin(), to_client_.begin() + put);
    blocked_since_.reset();
    if (stalled_ && to_client_.empty()) {
        stalled_ = false;
        const Marker marker{std::exchange(unshown_, 0), "not shown"};
        to_client_.assign(marker.bytes().begin(), marker.bytes().end());
    }
    return true;
}

bool Console::take_input() noexcept {
    if (!client_ || !client_readable_ || client_input_over_ || !to_guest_.empty()) return false;
    const ssize_t got = ::recv(client_.get(), input_.data(), input_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) return true;
    if (got < 0 && errno == EAGAIN) {
        client_readable_ = false;
        return false;
    }
    if (got > 0) {
        to_guest_ = std::span{input_}.first(static_cast<std::size_t>(got));
        return true;
    }
    client_readable_ = false;
    // End of input: a client that only closed its writing half still reads. One that is gone shows at
    // the next write, or by EPOLLHUP.
    std::array<std::byte, 1> nothing{};
    const bool gone = got < 0 || client_input_over_ ||
                      ::send(client_.get(), nothing.data(), 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
    client_input_over_ = true;
    if (gone) drop_client();
    return true;
}

bool Console::pass_input() noexcept {
    if (to_guest_.empty() || !guest_writable_ || guest_closed_) return false;
    const ssize_t put = ::send(guest_.get(), to_guest_.data(), to_guest_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) return true;
    if (put < 0 && errno == EAGAIN) {
        guest_writable_ = false;
        return false;
    }
    if (put < 0) {
        to_guest_ = {};
        return true;
    }
    to_guest_ = to_guest_.subspan(static_cast<std::size_t>(put));
    return true;
}

}  // namespace holdfast::io
