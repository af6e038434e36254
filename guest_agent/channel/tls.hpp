// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 (RFC 8446) as guests and the broker use it: a certificate says nothing, its key counts because
// evidence names it (channel.hpp) or a configuration pins it. No older version, no resumption, no early data:
// each connection has an exporter of its own.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "attest/channel/binding.hpp"
#include "guest_agent/crypto/key.hpp"
#include "sys/fd.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace holdfast::agent::channel {

struct FreeTls {
    void operator()(ssl_ctx_st* context) const noexcept;
    void operator()(ssl_st* connection) const noexcept;
};
using TlsContext = std::unique_ptr<ssl_ctx_st, FreeTls>;
/// What is said above, as OpenSSL takes it; without a certificate yet.
Result<TlsContext> make_tls_context();

/// A key and a certificate of it. Any thread.
class TlsIdentity {
public:
    /// A key of P-256 that is born here and never leaves, with a certificate that says nothing else.
    static Result<TlsIdentity> create();
    /// Of make_tls_context(), with a certificate by now. An Input error if it has none with a key.
    static Result<TlsIdentity> of(TlsContext context);
    /// SubjectPublicKeyInfo in DER.
    [[nodiscard]] Bytes key() const noexcept { return spki_; }

private:
    friend class TlsStream;
    TlsIdentity(TlsContext context, std::vector<std::byte> spki) noexcept
        : context_{std::move(context)}, spki_{std::move(spki)} {}
    TlsContext context_;
    std::vector<std::byte> spki_;
};

/// Whether a server goes on with a client that shows no certificate.
enum class ClientKey : bool { Optional, Demanded };

using Deadline = std::chrono::steady_clock::time_point;

/// One connection. One thread. Any error is its end. The process must ignore SIGPIPE: OpenSSL writes to
/// sockets as to files.
class TlsStream {
public:
    /// `pinned`: SHA-256 of the peer's SubjectPublicKeyInfo; without one any key is taken, and evidence must
    /// follow.
    static Result<TlsStream> connect(UniqueFd socket, const TlsIdentity& own,
                                     const std::optional<Digest256>& pinned, Deadline deadline);
    static Result<TlsStream> accept(UniqueFd socket, const TlsIdentity& own, Deadline deadline,
                                    ClientKey client = ClientKey::Demanded);
    TlsStream(TlsStream&&) noexcept = default;
    TlsStream& operator=(TlsStream&&) noexcept = default;
    ~TlsStream() = default;

    Result<void> read(std::span<std::byte> out, Deadline deadline);
    Result<void> write(Bytes in, Deadline deadline);
    /// Tells the other side that nothing follows, if it can be told in time.
    void close(Deadline deadline);
    [[nodiscard]] attest::ChannelRole role() const noexcept { return role_; }
    /// Whether something has come: enough of it for read(), or not.
    [[nodiscard]] bool is_readable() const noexcept;
    [[nodiscard]] const UniqueFd& socket() const noexcept { return socket_; }
    /// SubjectPublicKeyInfo of what the peer has shown and proved; empty where it need not show any.
    [[nodiscard]] Bytes peer_key() const noexcept { return peer_key_; }
    [[nodiscard]] Result<std::array<std::byte, attest::kExporterBytes>> exporter() const;

private:
    static Result<TlsStream> create(UniqueFd socket, const TlsIdentity& own, attest::ChannelRole role);
    explicit TlsStream(UniqueFd socket, attest::ChannelRole role) noexcept
        : socket_{std::move(socket)}, role_{role} {}
    Result<void> shake_hands(Deadline deadline, ClientKey client);
    template <typename Call>
    Result<int> drive(Call call, Deadline deadline, const char* what);

    UniqueFd socket_;
    attest::ChannelRole role_;
    std::unique_ptr<ssl_st, FreeTls> ssl_;  // keeps its context alive
    std::vector<std::byte> peer_key_;
};

}  // namespace holdfast::agent::channel
