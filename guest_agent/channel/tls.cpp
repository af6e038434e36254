// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/channel/tls.hpp"

#include <algorithm>
#include <cerrno>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>

#include "guest_agent/crypto/raw.hpp"
#include "sys/free_with.hpp"

namespace holdfast::agent::channel {
namespace {

constexpr std::size_t kMaxPiece = 64U << 10;

int accept_any(int /*verified*/, X509_STORE_CTX* /*chain*/) {
    return 1;  // nobody certifies these keys: see the head of tls.hpp
}

std::vector<std::byte> spki_of(X509* certificate) {
    unsigned char* der = nullptr;
    const int size = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der) : -1;
    if (size <= 0) return {};
    const auto bytes = std::as_bytes(std::span{der, static_cast<std::size_t>(size)});
    std::vector<std::byte> out{bytes.begin(), bytes.end()};
    OPENSSL_free(der);
    return out;
}

/// Valid always: a guest's clock is its host's, and the key lives as long as the process.
bool fill_certificate(X509* certificate, EVP_PKEY* key) {
    X509_NAME* const name = X509_get_subject_name(certificate);
    static constexpr unsigned char kName[] = "holdfast guest";
    return X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
           ASN1_TIME_set_string(X509_getm_notBefore(certificate), "20000101000000Z") == 1 &&
           ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z") == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, kName, sizeof kName - 1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

Result<void> wait_for(const UniqueFd& socket, short events, Deadline deadline) {
    for (;;) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
        if (left <= 0) return Error{Fault::Os, ETIMEDOUT, "wait for the other side of a channel"};
        pollfd entry{.fd = socket.get(), .events = events, .revents = 0};
        const int ready = ::poll(&entry, 1, static_cast<int>(std::min<long>(left, 60'000)));
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return os_error("poll");
    }
}

}  // namespace

void FreeTls::operator()(ssl_ctx_st* context) const noexcept { SSL_CTX_free(context); }
void FreeTls::operator()(ssl_st* connection) const noexcept { SSL_free(connection); }

Result<TlsContext> make_tls_context() {
    TlsContext made{SSL_CTX_new(TLS_method())};
    SSL_CTX* const context = made.get();
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1) {
        return Error{Fault::Os, 0, "set up TLS 1.3"};
    }
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_early_data(context, 0);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
    return made;
}

Result<TlsIdentity> TlsIdentity::create() {
    char curve[] = "P-256";  // EVP_EC_gen() casts const away
    const std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>> key{
        EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve)};
    const std::unique_ptr<X509, FreeWith<X509_free>> certificate{X509_new()};
    if (!key || !certificate || !fill_certificate(certificate.get(), key.get())) {
        return Error{Fault::Os, 0, "make a certificate"};
    }
    TlsContext context = HF_TRY(make_tls_context());
    if (SSL_CTX_use_certificate(context.get(), certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
        return Error{Fault::Os, 0, "set up TLS 1.3"};
    }
    return of(std::move(context));
}

Result<TlsIdentity> TlsIdentity::of(TlsContext context) {
    std::vector<std::byte> spki = spki_of(SSL_CTX_get0_certificate(context.get()));
    if (spki.empty()) return input_error("a certificate without a key");
    return TlsIdentity{std::move(context), std::move(spki)};
}

Result<TlsStream> TlsStream::create(UniqueFd socket, const TlsIdentity& own, attest::ChannelRole role) {
    HF_TRY(set_nonblocking(socket));
    TlsStream stream{std::move(socket), role};
    stream.ssl_.reset(SSL_new(own.context_.get()));
    if (!stream.ssl_ || SSL_set_fd(stream.ssl_.get(), stream.socket_.get()) != 1) {
        return Error{Fault::Os, 0, "set up TLS 1.3"};
    }
    return stream;
}

Result<TlsStream> TlsStream::connect(UniqueFd socket, const TlsIdentity& own,
                                     const std::optional<Digest256>& pinned, Deadline deadline) {
    TlsStream stream = HF_TRY(create(std::move(socket), own, attest::ChannelRole::Client));
    SSL_set_connect_state(stream.ssl_.get());
    HF_TRY(stream.shake_hands(deadline, ClientKey::Demanded));
    if (pinned) {
        Sha256 hash;
        hash.update(stream.peer_key_);
        if (!equal_constant_time(hash.finish(), *pinned))
            return peer_fault("the server has another key than is pinned");
    }
    return stream;
}

Result<TlsStream> TlsStream::accept(UniqueFd socket, const TlsIdentity& own, Deadline deadline,
                                    ClientKey client) {
    TlsStream stream = HF_TRY(create(std::move(socket), own, attest::ChannelRole::Server));
    if (client == ClientKey::Optional) SSL_set_verify(stream.ssl_.get(), SSL_VERIFY_PEER, accept_any);
    SSL_set_accept_state(stream.ssl_.get());
    HF_TRY(stream.shake_hands(deadline, client));
    return stream;
}

template <typename Call>
Result<int> TlsStream::drive(Call call, Deadline deadline, const char* what) {
    for (;;) {
        ERR_clear_error();
        const int done = call();
        if (done > 0) return done;
        const int why = SSL_get_error(ssl_.get(), done);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            ERR_clear_error();
            return peer_fault(what);
        }
        HF_TRY(wait_for(socket_, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline));
    }
}

Result<void> TlsStream::shake_hands(Deadline deadline, ClientKey client) {
    HF_TRY(
        drive([this] { return SSL_do_handshake(ssl_.get()); }, deadline, "no TLS 1.3 with the other side"));
    const std::unique_ptr<X509, FreeWith<X509_free>> certificate{SSL_get1_peer_certificate(ssl_.get())};
    if (!certificate && client == ClientKey::Optional) return {};
    peer_key_ = spki_of(certificate.get());
    if (peer_key_.empty()) return peer_fault("the other side has shown no key");
    return {};
}

void TlsStream::close(Deadline deadline) {
    static_cast<void>(
        drive([this] { return SSL_shutdown(ssl_.get()) >= 0 ? 1 : -1; }, deadline, "the other side is gone"));
}

bool TlsStream::is_readable() const noexcept {
    if (SSL_has_pending(ssl_.get()) == 1) return true;
    pollfd entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) > 0;
}

Result<void> TlsStream::read(std::span<std::byte> out, Deadline deadline) {
    while (!out.empty()) {
        const int most = static_cast<int>(std::min(out.size(), kMaxPiece));
        const int got = HF_TRY(drive([&] { return SSL_read(ssl_.get(), out.data(), most); }, deadline,
                                     "the other side of a channel has ended it"));
        out = out.subspan(static_cast<std::size_t>(got));
    }
    return {};
}

Result<void> TlsStream::write(Bytes in, Deadline deadline) {
    while (!in.empty()) {
        const int most = static_cast<int>(std::min(in.size(), kMaxPiece));
        const int sent = HF_TRY(drive([&] { return SSL_write(ssl_.get(), in.data(), most); }, deadline,
                                      "the other side of a channel has ended it"));
        in = in.subspan(static_cast<std::size_t>(sent));
    }
    return {};
}

Result<std::array<std::byte, attest::kExporterBytes>> TlsStream::exporter() const {
    std::array<std::byte, attest::kExporterBytes> out{};
    if (SSL_export_keying_material(ssl_.get(), room(out), out.size(), attest::kExporterLabel.data(),
                                   attest::kExporterLabel.size(), nullptr, 0, 0) != 1) {
        return Error{Fault::Os, 0, "TLS exporter"};
    }
    return out;
}

}  // namespace holdfast::agent::channel
