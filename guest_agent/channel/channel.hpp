// SPDX-License-Identifier: Apache-2.0
// The attested channel: TLS 1.3, and then evidence both ways inside it, bound to this very connection, both
// keys, the side that makes it and a fresh challenge of the other (attest/channel/binding.hpp). Evidence
// inside the handshake would bind a key and not the connection: whoever got that key could relay (research
// 2026, CVE-2026-33697).
#pragma once

#include <deque>
#include <functional>

#include "guest_agent/channel/tls.hpp"
#include "sys/boot_clock.hpp"

namespace holdfast::agent::channel {

inline constexpr std::size_t kMaxEvidence = 4U << 20;  ///< bytes
inline constexpr std::size_t kMaxPayload = 1U << 20;   ///< bytes of one message of the application

/// Makes evidence for a binding, and judges the peer's.
struct Appraisal {
    std::function<Result<std::vector<std::byte>>(const Digest256& binding)> make;
    std::function<Result<void>(const Digest256& binding, Bytes evidence)> judge;
    /// What both sides must agree on beside: hash of the policy, group and epoch.
    std::vector<std::byte> context;
    /// For so long evidence counts, from the challenge that it answers, by this machine's clock: a host that
    /// slows the clock down keeps a channel open that was attested, and opens none.
    std::chrono::seconds lifetime{3600};
    std::function<BootClock::time_point()> clock = BootClock::now;  ///< tests have theirs
};

/// One thread. After an error nothing more is sent or received.
class Channel {
public:
    /// Attests both ways at once. `appraisal` outlives the channel.
    static Result<Channel> create(TlsStream stream, const TlsIdentity& own, const Appraisal& appraisal,
                                  Deadline deadline);
    Result<void> send(Bytes payload, Deadline deadline);
    Result<SecretBuffer> receive(Deadline deadline);
    /// The next message. None: the client asked for fresh evidence, and both sides have shown some.
    Result<std::optional<SecretBuffer>> take(Deadline deadline);
    /// Whether there is something to take; the socket becomes readable when there may be.
    [[nodiscard]] bool is_readable() const noexcept { return !early_.empty() || stream_.is_readable(); }
    [[nodiscard]] const UniqueFd& socket() const noexcept { return stream_.socket(); }
    /// The client's, while the server sends and takes: fresh evidence both ways. What the server had sent
    /// before it heard of it is there to take afterwards.
    Result<void> renew(Deadline deadline);
    [[nodiscard]] attest::ChannelRole role() const noexcept { return stream_.role(); }
    /// For how long the peer's evidence still counts; never negative.
    [[nodiscard]] BootClock::duration time_left() const;
    [[nodiscard]] bool is_due() const { return time_left() == BootClock::duration::zero(); }
    [[nodiscard]] Bytes peer_key() const noexcept { return stream_.peer_key(); }

private:
    Channel(TlsStream stream, Bytes own_key, const Appraisal& appraisal) noexcept
        : stream_{std::move(stream)}, own_key_{own_key.begin(), own_key.end()}, appraisal_{&appraisal} {}
    static constexpr std::size_t kNonce = 32;
    struct Challenge {
        std::array<std::byte, kNonce> nonce{};
        BootClock::time_point made;
    };
    [[nodiscard]] Challenge make_challenge() const;
    Result<void> attest(Deadline deadline);
    Result<void> attest_by(const Challenge& ours, Bytes theirs, Deadline deadline);
    Result<Digest256> binding_of(attest::ChannelRole maker, Bytes nonce) const;
    Result<void> put(std::byte kind, Bytes body, Deadline deadline);
    struct Head {
        std::size_t size = 0;
        std::byte kind{};
    };
    Result<std::size_t> get_head(std::byte kind, std::size_t most, Deadline deadline);
    Result<Head> get_any_head(Deadline deadline);
    Result<SecretBuffer> get_payload(std::size_t size, Deadline deadline);
    Result<void> expect_usable() const;
    Result<std::optional<SecretBuffer>> take_next(Deadline deadline);
    Result<std::size_t> let_early_come(Deadline deadline);
    Result<std::vector<std::byte>> get(std::byte kind, std::size_t most, Deadline deadline);
    TlsStream stream_;
    std::vector<std::byte> own_key_;
    const Appraisal* appraisal_;
    BootClock::time_point challenged_{};  ///< when the peer's evidence was asked for
    std::deque<SecretBuffer> early_;      ///< came while we renewed
    std::optional<Error> failed_;
};

}  // namespace holdfast::agent::channel
