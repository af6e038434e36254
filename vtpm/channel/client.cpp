// SPDX-License-Identifier: Apache-2.0
#include "vtpm/channel/client.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>

#include "sys/socket.hpp"

namespace holdfast::vtpm::channel {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Making an RSA key may take that long, and with swtpm the control channel waits for it.
constexpr std::chrono::seconds kPatience{60};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return std::as_bytes(std::span{&value, 1});
}

Result<void> wait_readable(const UniqueFd& fd, Clock::time_point deadline) {
    while (true) {
        const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) return peer_fault("the vTPM does not answer");
        pollfd item{.fd = fd.get(), .events = POLLIN, .revents = 0};
        const int ready = ::poll(&item, 1, static_cast<int>(left));
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return os_error("wait for the vTPM");
    }
}

/// What there is, at most out.size(); 0: nothing now.
Result<std::size_t> read_some(const UniqueFd& fd, std::span<std::byte> out) {
    while (true) {
        const ssize_t got = ::recv(fd.get(), out.data(), out.size(), MSG_DONTWAIT);
        if (got > 0) return static_cast<std::size_t>(got);
        if (got == 0) return peer_fault("the vTPM has closed its socket");
        if (errno == EAGAIN) return std::size_t{0};
        if (errno != EINTR) return os_error("read from the vTPM");
    }
}

Result<void> read_whole(const UniqueFd& fd, std::span<std::byte> out) {
    const Clock::time_point deadline = Clock::now() + kPatience;
    while (!out.empty()) {
        HF_TRY(wait_readable(fd, deadline));
        out = out.subspan(HF_TRY(read_some(fd, out)));
    }
    return {};
}

/// Messages are far smaller than a socket's buffer and never queue up: one that does not fit means that the
/// other side does not read.
Result<void> send_whole(const UniqueFd& fd, std::span<const std::byte> bytes) {
    while (true) {
        const ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == static_cast<ssize_t>(bytes.size())) return {};
        if (sent >= 0) return peer_fault("the vTPM does not read");
        if (errno != EINTR) return os_error("write to the vTPM");
    }
}

}  // namespace

Result<void> Client::set_data_fd(const UniqueFd& control, const UniqueFd& data) {
    const wire::Request request{static_cast<std::uint32_t>(Command::SET_DATAFD)};
    const int fd = data.get();
    HF_TRY(send_message(control, bytes_of(request), {&fd, 1}));
    wire::Result answer;
    HF_TRY(read_whole(control, std::as_writable_bytes(std::span{&answer, 1})));
    if (answer.result.get() != result::SUCCESS) return peer_fault("the vTPM refuses its data socket");
    return {};
}

template <typename Answer>
Result<Answer> Client::ask(Command command, std::span<const std::byte> arguments) {
    constexpr std::size_t kMost = 16;
    const wire::Request head{static_cast<std::uint32_t>(command)};
    std::array<std::byte, sizeof head + kMost> request{};
    check(arguments.size() <= kMost, "arguments of a control request");
    std::ranges::copy(bytes_of(head), request.begin());
    std::ranges::copy(arguments, request.begin() + sizeof head);
    HF_TRY(settle());
    HF_TRY(send_whole(control_, std::span{request}.first(sizeof head + arguments.size())));
    // A refusal may be the result alone, so the rest is waited for only after it was judged.
    Answer answer;
    const auto raw = std::as_writable_bytes(std::span{&answer, 1});
    HF_TRY(read_whole(control_, raw.first(sizeof(wire::Result))));
    if (answer.result.get() != result::SUCCESS) return peer_fault("the vTPM refuses a control request");
    HF_TRY(read_whole(control_, raw.subspan(sizeof(wire::Result))));
    return answer;
}

Result<std::uint32_t> Client::capabilities() {
    return HF_TRY(ask<wire::Capability>(Command::GET_CAPABILITY)).capabilities.get();
}

Result<void> Client::stop() {
    HF_TRY(ask<wire::Result>(Command::STOP));
    return {};
}

Result<std::uint32_t> Client::set_buffer_size(std::uint32_t bytes) {
    const wire::BufferSize arguments{bytes};
    return HF_TRY(ask<wire::BufferSizeAnswer>(Command::SET_BUFFERSIZE, bytes_of(arguments))).size.get();
}

Result<void> Client::init() {
    const wire::Init arguments{};
    HF_TRY(ask<wire::Result>(Command::INIT, bytes_of(arguments)));
    return {};
}

Result<void> Client::set_locality(std::uint8_t locality) {
    const wire::Locality arguments{.locality = locality};
    HF_TRY(ask<wire::Result>(Command::SET_LOCALITY, bytes_of(arguments)));
    return {};
}

Result<void> Client::shutdown() {
    HF_TRY(ask<wire::Result>(Command::SHUTDOWN));
    return {};
}

Result<void> Client::request_cancel() {
    if (answer_due_) {
        std::array<std::byte, sizeof(wire::Result)> answer;
        if (HF_TRY(read_some(control_, answer)) != answer.size()) return {};
        answer_due_ = false;
    }
    const wire::Request request{static_cast<std::uint32_t>(Command::CANCEL_TPM_CMD)};
    HF_TRY(send_whole(control_, bytes_of(request)));
    answer_due_ = true;
    return {};
}

/// What it says does not matter: a command that could not be cancelled ends by itself.
Result<void> Client::settle() {
    if (!answer_due_) return {};
    answer_due_ = false;
    std::array<std::byte, sizeof(wire::Result)> answer;
    return read_whole(control_, answer);
}

Result<void> Client::send(std::span<const std::byte> command) {
    check(command.size() >= kTpmHeaderBytes && command.size() <= kMaxTpmBuffer, "size of a TPM command");
    received_ = 0;
    response_due_ = true;
    return send_whole(data_, command);
}

Result<std::optional<std::span<const std::byte>>> Client::receive() {
    constexpr std::size_t kSizeOffset = 2;
    using Whole = std::optional<std::span<const std::byte>>;
    while (true) {
        std::size_t wanted = kTpmHeaderBytes;
        if (received_ >= kTpmHeaderBytes) {
            Be<std::uint32_t> size;
            std::memcpy(&size, response_.data() + kSizeOffset, sizeof size);
            wanted = size.get();
            if (wanted < kTpmHeaderBytes || wanted > response_.size()) {
                return peer_fault("the vTPM sends a response of an impossible size");
            }
        }
        if (received_ == wanted) {
            response_due_ = false;
            return Whole{std::span{response_}.first(wanted)};
        }
        const auto room = std::span{response_}.subspan(received_, wanted - received_);
        const std::size_t got = HF_TRY(read_some(data_, room));
        if (got == 0) return Whole{};
        received_ += got;
    }
}

Result<std::span<const std::byte>> Client::transact(std::span<const std::byte> command) {
    HF_TRY(send(command));
    return await_response();
}

Result<void> Client::finish() {
    if (response_due_) {
        HF_TRY(request_cancel());
        HF_TRY(await_response());
    }
    return settle();
}

Result<std::span<const std::byte>> Client::await_response() {
    const Clock::time_point deadline = Clock::now() + kPatience;
    while (true) {
        if (const auto whole = HF_TRY(receive())) return *whole;
        HF_TRY(wait_readable(data_, deadline));
    }
}

Result<void> Client::discard_stale() {
    // One response at most, of at most a buffer.
    constexpr int kMostReads = 2;
    for (int i = 0; i < kMostReads; ++i) {
        if (HF_TRY(read_some(data_, response_)) == 0) return {};
    }
    return peer_fault("the vTPM sends what nobody asked for");
}

}  // namespace holdfast::vtpm::channel
