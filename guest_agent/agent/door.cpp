// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/door.hpp"

#include "guest_agent/call/blob.hpp"
#include "guest_agent/call/frame.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

constexpr std::string_view kNow = "now";
constexpr std::string_view kJoin = "join";
constexpr std::string_view kWelcome = "welcome";
constexpr std::string_view kCommit = "commit";
constexpr std::size_t kDigits = 32;
// What is put there goes into one call, together with its name.
static_assert(group::kMaxControl + call::kMaxBlobName + 8 <= call::kMaxBody);

std::string name_of(Bytes package) { return hex(hash_parts({package})).substr(0, kDigits); }

}  // namespace

Result<void> Door::announce(const group::Standing& standing) {
    return board_->put(board_->own_name(), kNow, encode(standing));
}

Result<void> Door::look(group::Talk& talk) {
    for (const std::string& name : names_) {
        if (!talk.is_open_to(name)) continue;
        const auto now = group::Talk::Moment::clock::now();
        auto package = HF_TRY(board_->get(name, kJoin));
        if (!package || turned_away_[name] == *package) continue;
        const auto asked = talk.knock(name, *package, now);
        if (asked) continue;
        log::warn("join_refused", {{"name", name}, {"why", asked.error().what}});
        turned_away_[name] = std::move(*package);
    }
    return {};
}

Result<void> Door::invite(const group::Talk::Invitation& invitation) {
    for (const auto& package : invitation.packages) {
        HF_TRY(board_->put(name_of(package), kCommit, invitation.messages.commit));
        // Last: who finds this one has all.
        HF_TRY(board_->put(name_of(package), kWelcome, invitation.messages.welcome));
    }
    return {};
}

Result<std::optional<group::Standing>> Door::standing() {
    std::optional<group::Standing> newest;
    for (const std::string& name : names_) {
        const auto said = HF_TRY(board_->get(name, kNow));
        if (!said) continue;
        const auto standing = group::decode_standing(*said);
        if (standing && (!newest || newest->epoch < standing->epoch)) newest = *standing;
    }
    return newest;
}

Result<void> Door::ask(Bytes package) { return board_->put(board_->own_name(), kJoin, package); }

Result<std::optional<group::CommitMessages>> Door::invitation(Bytes package) {
    auto welcome = HF_TRY(board_->get(name_of(package), kWelcome));
    if (!welcome) return std::nullopt;
    auto commit = HF_TRY(board_->get(name_of(package), kCommit));
    if (!commit) return std::nullopt;
    return group::CommitMessages{.commit = std::move(*commit), .welcome = std::move(*welcome)};
}

Result<void> Door::clear(Bytes package) {
    HF_TRY(board_->drop(board_->own_name(), kJoin));
    HF_TRY(board_->drop(name_of(package), kWelcome));
    return board_->drop(name_of(package), kCommit);
}

}  // namespace holdfast::agent
