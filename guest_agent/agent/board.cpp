// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/board.hpp"

#include <cerrno>

#include "guest_agent/agent/vsock.hpp"
#include "guest_agent/call/services.hpp"

namespace holdfast::agent {
namespace {

constexpr std::chrono::seconds kPatience{60};  // for one call

std::string what_of(std::uint64_t epoch, std::uint64_t number) {
    return std::to_string(epoch) + '.' + std::to_string(number);
}

std::string blob_name(const std::string& group, std::string_view whose, std::string_view what) {
    return (group + '.').append(whose).append(1, '.').append(what);
}

}  // namespace

Result<Board> Board::open(std::string group, std::string own_name) {
    return Board{std::move(group), std::move(own_name), call::Client{HF_TRY(connect_host(call::kHostPort))}};
}

Board::Place& Board::place_in(const std::string& member, std::uint64_t epoch) {
    Place& next = next_[member];
    if (next.epoch != epoch) next = {.epoch = epoch, .number = 0};
    return next;
}

Result<void> Board::post(std::uint64_t epoch, Bytes message) {
    Place& next = place_in(own_name_, epoch);
    HF_TRY(put(own_name_, what_of(epoch, next.number), message));
    kept_.push_back(next);
    ++next.number;
    return {};
}

Result<std::optional<std::vector<std::byte>>> Board::take(const std::string& from, std::uint64_t epoch) {
    Place& next = place_in(from, epoch);
    auto message = HF_TRY(get(from, what_of(epoch, next.number)));
    if (message) ++next.number;
    return message;
}

Result<void> Board::forget_before(std::uint64_t epoch) {
    for (; !kept_.empty() && kept_.front().epoch < epoch; kept_.pop_front())
        HF_TRY(drop(own_name_, what_of(kept_.front().epoch, kept_.front().number)));
    return {};
}

Result<void> Board::put(std::string_view whose, std::string_view what, Bytes bytes) {
    const auto body = call::encode(
        call::NamedBlob{.name = blob_name(group_, whose, what), .bytes = {bytes.begin(), bytes.end()}});
    HF_TRY(host_.call(call::host_service::kNumber, call::host_service::kPutBlob, body, kPatience));
    return {};
}

Result<std::optional<std::vector<std::byte>>> Board::get(std::string_view whose, std::string_view what) {
    const auto name = call::encode_blob_name(blob_name(group_, whose, what));
    auto blob = host_.call(call::host_service::kNumber, call::host_service::kGetBlob, name, kPatience);
    if (!blob && blob.error().os_errno == ENOENT) return std::nullopt;
    if (!blob) return blob.error();
    return std::vector<std::byte>{blob->bytes().begin(), blob->bytes().end()};
}

Result<void> Board::drop(std::string_view whose, std::string_view what) {
    const auto name = call::encode_blob_name(blob_name(group_, whose, what));
    HF_TRY(host_.call(call::host_service::kNumber, call::host_service::kDropBlob, name, kPatience));
    return {};
}

}  // namespace holdfast::agent
