// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/channel/channel.hpp"

#include <algorithm>

#include "sys/wire/endian.hpp"

namespace holdfast::agent::channel {
namespace {

constexpr std::size_t kPiece = 64U << 10;
constexpr std::size_t kFirstRecord = 16U << 10;  // RFC 8446 §5.1: the most that a record holds
// Kinds of messages. Each side sends challenge, evidence and accept in this order and takes nothing else
// meanwhile.
constexpr std::byte kChallenge{1};
constexpr std::byte kEvidence{2};
constexpr std::byte kAccept{3};
constexpr std::byte kPayload{4};
constexpr std::byte kRenew{5};  // of the client: challenge, evidence and accept follow
/// What a server may have sent before it heard that the client renews.
constexpr std::size_t kMaxEarly = 4U << 20;

namespace wire {
struct Head {
    Be<std::uint32_t> size;
    std::byte kind;
};
static_assert(sizeof(Head) == 5 && alignof(Head) == 1);
}  // namespace wire

attest::ChannelRole other(attest::ChannelRole role) noexcept {
    return role == attest::ChannelRole::Client ? attest::ChannelRole::Server : attest::ChannelRole::Client;
}

}  // namespace

Result<Channel> Channel::create(TlsStream stream, const TlsIdentity& own, const Appraisal& appraisal,
                                Deadline deadline) {
    Channel made{std::move(stream), own.key(), appraisal};
    HF_TRY(made.attest(deadline));
    return made;
}

Result<Digest256> Channel::binding_of(attest::ChannelRole maker, Bytes nonce) const {
    const auto exporter = HF_TRY(stream_.exporter());
    const bool is_own = maker == stream_.role();
    return attest::channel_binding({.role = maker,
                                    .nonce = nonce,
                                    .exporter = exporter,
                                    .own_key = is_own ? Bytes{own_key_} : stream_.peer_key(),
                                    .peer_key = is_own ? stream_.peer_key() : Bytes{own_key_},
                                    .context = appraisal_->context});
}

BootClock::duration Channel::time_left() const {
    constexpr auto kNone = BootClock::duration::zero();
    const auto age = appraisal_->clock() - challenged_;
    // A clock that was set back says nothing of its age.
    return age < kNone ? kNone : std::max(kNone, appraisal_->lifetime - age);
}

/// Evidence that answers it is not older than it, however long this guest stands still before it is there.
Channel::Challenge Channel::make_challenge() const {
    Challenge challenge{.made = appraisal_->clock()};
    fill_random(challenge.nonce);
    return challenge;
}

Result<void> Channel::attest(Deadline deadline) {
    const Challenge ours = make_challenge();
    HF_TRY(put(kChallenge, ours.nonce, deadline));
    const auto theirs = HF_TRY(get(kChallenge, kNonce, deadline));
    return attest_by(ours, theirs, deadline);
}

/// `theirs`: the peer's challenge.
Result<void> Channel::attest_by(const Challenge& ours, Bytes theirs, Deadline deadline) {
    if (theirs.size() != kNonce) return peer_fault("a challenge of another size");
    const Digest256 asked = HF_TRY(binding_of(stream_.role(), theirs));
    const auto made = HF_TRY(appraisal_->make(asked));
    if (made.size() > kMaxEvidence) return input_error("our evidence is too long");
    // Evidence is longer than what sockets buffer, and both sides send: the client first.
    std::vector<std::byte> shown;
    const Digest256 expected = HF_TRY(binding_of(other(stream_.role()), ours.nonce));
    if (stream_.role() == attest::ChannelRole::Client) {
        HF_TRY(put(kEvidence, made, deadline));
        shown = HF_TRY(get(kEvidence, kMaxEvidence, deadline));
    } else {
        shown = HF_TRY(get(kEvidence, kMaxEvidence, deadline));
        // Nobody sees our evidence who has not shown some that counts.
        HF_TRY(appraisal_->judge(expected, shown));
        HF_TRY(put(kEvidence, made, deadline));
    }
    if (stream_.role() == attest::ChannelRole::Client) HF_TRY(appraisal_->judge(expected, shown));
    HF_TRY(put(kAccept, {}, deadline));
    HF_TRY(get(kAccept, 0, deadline));
    challenged_ = ours.made;
    return {};
}

Result<void> Channel::put(std::byte kind, Bytes body, Deadline deadline) {
    const wire::Head head{.size = Be<std::uint32_t>{static_cast<std::uint32_t>(body.size())}, .kind = kind};
    // Head and beginning in one record of TLS: a record of five bytes costs as much as one of thousands.
    std::array<std::byte, kFirstRecord> first;
    const std::size_t taken = std::min(body.size(), first.size() - sizeof head);
    std::ranges::copy(std::as_bytes(std::span{&head, 1}), first.begin());
    std::ranges::copy(body.first(taken), first.begin() + sizeof head);
    const auto sent = stream_.write(Bytes{first}.first(sizeof head + taken), deadline);
    wipe(std::span{first}.first(sizeof head + taken));
    HF_TRY(sent);
    return stream_.write(body.subspan(taken), deadline);
}

Result<Channel::Head> Channel::get_any_head(Deadline deadline) {
    wire::Head head{};
    HF_TRY(stream_.read(std::as_writable_bytes(std::span{&head, 1}), deadline));
    return Head{.size = head.size.get(), .kind = head.kind};
}

Result<std::size_t> Channel::get_head(std::byte kind, std::size_t most, Deadline deadline) {
    const Head head = HF_TRY(get_any_head(deadline));
    if (head.kind != kind) return peer_fault("a message of a channel out of its turn");
    if (head.size > most) return peer_fault("a message of a channel that is too long");
    return head.size;
}

Result<std::vector<std::byte>> Channel::get(std::byte kind, std::size_t most, Deadline deadline) {
    const std::size_t size = HF_TRY(get_head(kind, most, deadline));
    std::vector<std::byte> body;
    // Room is made as bytes come.
    while (body.size() < size) {
        const std::size_t at = body.size();
        body.resize(at + std::min(kPiece, size - at));
        HF_TRY(stream_.read(std::span{body}.subspan(at), deadline));
    }
    return body;
}

Result<void> Channel::expect_usable() const {
    if (failed_) return *failed_;
    if (is_due()) return input_error("the evidence of this channel has expired: attest again");
    return {};
}

Result<void> Channel::send(Bytes payload, Deadline deadline) {
    HF_TRY(expect_usable());
    if (payload.size() > kMaxPayload) return input_error("a message is too long");
    const auto sent = put(kPayload, payload, deadline);
    if (!sent) failed_ = sent.error();
    return sent;
}

Result<SecretBuffer> Channel::get_payload(std::size_t size, Deadline deadline) {
    if (size > kMaxPayload) return peer_fault("a message of a channel that is too long");
    SecretBuffer payload{size};
    HF_TRY(stream_.read(payload.bytes(), deadline));
    return payload;
}

Result<std::optional<SecretBuffer>> Channel::take_next(Deadline deadline) {
    const Head head = HF_TRY(get_any_head(deadline));
    if (head.kind == kPayload) return HF_TRY(get_payload(head.size, deadline));
    const bool is_renewal =
        head.kind == kRenew && head.size == 0 && stream_.role() == attest::ChannelRole::Server;
    if (!is_renewal) return peer_fault("a message of a channel out of its turn");
    HF_TRY(attest(deadline));
    return std::nullopt;
}

Result<std::optional<SecretBuffer>> Channel::take(Deadline deadline) {
    HF_TRY(expect_usable());
    if (!early_.empty()) {
        SecretBuffer payload = std::move(early_.front());
        early_.pop_front();
        return payload;
    }
    auto taken = take_next(deadline);
    // Nobody knows when it came: this guest may have stood still since it began to wait for it.
    if (const auto usable = expect_usable(); taken && !usable) taken = usable.error();
    if (!taken) failed_ = taken.error();
    return taken;
}

Result<SecretBuffer> Channel::receive(Deadline deadline) {
    for (;;) {
        if (auto payload = HF_TRY(take(deadline))) return std::move(*payload);
    }
}

/// Up to the server's challenge, which it sends once it has heard of our renewal.
Result<std::size_t> Channel::let_early_come(Deadline deadline) {
    std::size_t early = 0;
    for (;;) {
        const Head head = HF_TRY(get_any_head(deadline));
        if (head.kind == kChallenge) return head.size;
        if (head.kind != kPayload) return peer_fault("a message of a channel out of its turn");
        early += head.size + 1;  // even empty ones need room
        if (early > kMaxEarly) return peer_fault("the server does not answer the client's renewal");
        early_.push_back(HF_TRY(get_payload(head.size, deadline)));
    }
}

Result<void> Channel::renew(Deadline deadline) {
    HF_TRY(expect_usable());
    const auto renewed = [&]() -> Result<void> {
        if (stream_.role() != attest::ChannelRole::Client) return input_error("the client renews");
        const Challenge ours = make_challenge();
        HF_TRY(put(kRenew, {}, deadline));
        HF_TRY(put(kChallenge, ours.nonce, deadline));
        const std::size_t size = HF_TRY(let_early_come(deadline));
        if (size != kNonce) return peer_fault("a challenge of another size");
        std::array<std::byte, kNonce> theirs{};
        HF_TRY(stream_.read(theirs, deadline));
        return attest_by(ours, theirs, deadline);
    }();
    if (!renewed) failed_ = renewed.error();
    return renewed;
}

}  // namespace holdfast::agent::channel
