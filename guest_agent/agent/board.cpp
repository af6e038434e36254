// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/board.hpp"

#include <algorithm>
#include <cerrno>
#include <thread>

#include "guest_agent/agent/vsock.hpp"
#include "guest_agent/call/services.hpp"

namespace holdfast::agent {
namespace {

constexpr std::chrono::seconds kPatience{60};     // for one call
constexpr std::chrono::milliseconds kPause{100};  // a host tells nobody of new blobs

}  // namespace

Result<Board> Board::open(std::string group, std::string own_name) {
    return Board{std::move(group), std::move(own_name), call::Client{HF_TRY(connect_host(call::kHostPort))}};
}

std::string Board::blob_name(const std::string& member, std::uint64_t number) const {
    return group_ + '.' + member + '.' + std::to_string(number);
}

Result<void> Board::post(Bytes message) {
    const auto body = call::encode(
        call::NamedBlob{.name = blob_name(own_name_, posted_), .bytes = {message.begin(), message.end()}});
    HF_TRY(host_.call(call::host_service::kNumber, call::host_service::kPutBlob, body, kPatience));
    ++posted_;
    return {};
}

Result<void> Board::forget_before(std::uint64_t number) {
    for (; forgotten_ < std::min(number, posted_); ++forgotten_) {
        const auto name = call::encode_blob_name(blob_name(own_name_, forgotten_));
        HF_TRY(host_.call(call::host_service::kNumber, call::host_service::kDropBlob, name, kPatience));
    }
    return {};
}

Result<std::optional<std::vector<std::byte>>> Board::take(const std::string& from) {
    const auto name = call::encode_blob_name(blob_name(from, taken_[from]));
    auto message = host_.call(call::host_service::kNumber, call::host_service::kGetBlob, name, kPatience);
    if (!message && message.error().os_errno == ENOENT) return std::nullopt;
    if (!message) return message.error();
    ++taken_[from];
    return std::vector<std::byte>{message->bytes().begin(), message->bytes().end()};
}

Result<std::vector<std::byte>> Board::await(const std::string& from, std::chrono::seconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        if (auto message = HF_TRY(take(from))) return std::move(*message);
        if (std::chrono::steady_clock::now() >= until) {
            return Error{Fault::Os, ETIMEDOUT, "wait for a member of the group"};
        }
        std::this_thread::sleep_for(kPause);
    }
}

}  // namespace holdfast::agent
