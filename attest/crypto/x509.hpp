// SPDX-License-Identifier: Apache-2.0
// X.509 certificates and revocation lists (RFC 5280), and chains of them to roots that the verifier trusts,
// at a time that the verifier names. By OpenSSL's own chain check, not in its strict mode: AMD's endorsement
// certificates have serial number 0. Nothing is fetched.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "attest/crypto/signature.hpp"
#include "attest/finding.hpp"
#include "sys/sha2.hpp"

struct x509_st;
struct X509_crl_st;
struct x509_store_st;

namespace holdfast::attest {

/// One certificate. A copy is one more reference: certificates never change.
class Certificate {
public:
    static Result<Certificate> from_der(std::span<const std::byte> der);

    Certificate(const Certificate& other) noexcept;
    Certificate(Certificate&&) noexcept = default;
    Certificate& operator=(const Certificate& other) noexcept;
    Certificate& operator=(Certificate&&) noexcept = default;
    ~Certificate() = default;

    [[nodiscard]] std::vector<std::byte> der() const;
    /// Common names, as far as there is exactly one that is text; else empty.
    [[nodiscard]] std::string subject() const;
    [[nodiscard]] std::string issuer() const;
    /// The attribute serialNumber of the subject (OID 2.5.4.5), on the same terms.
    [[nodiscard]] std::string subject_serial() const;
    /// Whether the extension extKeyUsage is there and names this purpose ("1.2.3").
    [[nodiscard]] bool is_for(const char* purpose) const noexcept;
    [[nodiscard]] bool is_self_issued() const noexcept;
    [[nodiscard]] std::int64_t not_before() const noexcept;
    [[nodiscard]] std::int64_t not_after() const noexcept;
    [[nodiscard]] Result<PublicKey> key() const;
    /// What is in the extension with this object identifier ("1.2.3"), which is the certificate's; none: no
    /// such one.
    [[nodiscard]] std::optional<std::span<const std::byte>> extension(const char* oid) const noexcept;
    [[nodiscard]] const Digest256& digest() const noexcept { return digest_; }
    [[nodiscard]] x509_st* native() const noexcept { return x509_.get(); }

private:
    struct Free {
        void operator()(x509_st* x509) const noexcept;
    };
    using Native = std::unique_ptr<x509_st, Free>;
    friend Result<std::vector<Certificate>> parse_certificates(std::span<const std::byte> bytes);
    friend class ChainVerifier;
    static Result<Certificate> adopt(x509_st* owned);
    Certificate(Native owned, const Digest256& digest) noexcept : x509_{std::move(owned)}, digest_{digest} {}
    Native x509_;
    Digest256 digest_;  ///< of the DER
};

/// One certificate in DER, or any number of them in PEM with other text between them. At most 16, in 256 KiB.
[[nodiscard]] Result<std::vector<Certificate>> parse_certificates(std::span<const std::byte> bytes);

/// A copy is one more reference.
class Crl {
public:
    /// DER, PEM, or DER in hexadecimal (as in collateral bundles).
    static Result<Crl> parse(std::span<const std::byte> bytes);
    Crl(const Crl& other) noexcept;
    Crl(Crl&&) noexcept = default;
    Crl& operator=(const Crl& other) noexcept;
    Crl& operator=(Crl&&) noexcept = default;
    ~Crl() = default;
    [[nodiscard]] std::int64_t last_update() const noexcept;
    [[nodiscard]] std::int64_t next_update() const noexcept;
    [[nodiscard]] const Digest256& digest() const noexcept { return digest_; }
    [[nodiscard]] X509_crl_st* native() const noexcept { return crl_.get(); }

private:
    struct Free {
        void operator()(X509_crl_st* crl) const noexcept;
    };
    Crl(X509_crl_st* owned, const Digest256& digest) noexcept : crl_{owned}, digest_{digest} {}
    std::unique_ptr<X509_crl_st, Free> crl_;
    Digest256 digest_;
};

enum class Revocation : std::uint8_t {
    All,         ///< each certificate of the chain is looked up in its issuer's list
    ExceptLeaf,  ///< AMD publishes no list for what its ASK has signed
};

struct ChainRequest {
    /// As it came: the certificate in question first, then others from the same source. Nothing in it is
    /// trusted.
    std::span<const std::byte> presented;
    /// Certificates from elsewhere that may help to build the chain. Nothing in it is trusted.
    std::span<const Certificate> helpers{};
    std::span<const Crl> crls{};
    Revocation revocation = Revocation::All;
    /// A list that is missing is a refusal; else a note.
    bool crls_demanded = false;
    std::int64_t at = 0;  ///< seconds since 1970
};

/// From the certificate in question to a trusted root.
using Chain = std::vector<Certificate>;

/// One thread at a time.
class ChainVerifier {
public:
    /// Roots are self-signed and trusted without any further question but their dates.
    static Result<ChainVerifier> create(std::span<const Certificate> roots);

    /// All that is wrong is added to `findings`; a chain comes back only if it makes nothing unauthentic.
    /// Chains that held are remembered with the time for which they do, so that a second piece of evidence of
    /// the same machine costs no second chain; what was found wrong is never remembered.
    [[nodiscard]] std::optional<Chain> verify(const ChainRequest& request, Findings& findings);

private:
    struct Free {
        void operator()(x509_store_st* store) const noexcept;
    };
    struct Remembered {
        Digest256 key{};
        Chain chain;
        std::vector<Finding> notes;
        std::int64_t from = std::numeric_limits<std::int64_t>::min();
        std::int64_t until = std::numeric_limits<std::int64_t>::max();
    };
    static constexpr std::size_t kRemembered = 64;

    ChainVerifier() = default;
    [[nodiscard]] std::optional<Chain> build(const ChainRequest& request, const Certificate& leaf,
                                             std::span<const Certificate> others, Findings& findings) const;
    void remember(const Digest256& key, const ChainRequest& request, const Chain& chain,
                  std::span<const Finding> notes);

    std::unique_ptr<x509_store_st, Free> store_;
    std::vector<Remembered> remembered_;
    std::size_t next_ = 0;  ///< which one gives way
};

}  // namespace holdfast::attest
