// SPDX-License-Identifier: Apache-2.0
#include "cli/signing.hpp"

#include <cstdio>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "sys/fd.hpp"
#include "sys/free_with.hpp"
#include "sys/signed.hpp"

namespace holdfast::cli {
namespace {

struct CloseFile {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;

bool is_usable(const EVP_PKEY* key, KeyKind kind) {
    return is_p256(key) || (kind == KeyKind::Ed25519OrP256 && is_ed25519(key));
}

/// Asks for a passphrase on the terminal if the key has one.
Key read_private_key(const std::string& path) {
    const std::unique_ptr<std::FILE, CloseFile> file{std::fopen(path.c_str(), "re")};
    Key key{file ? PEM_read_PrivateKey(file.get(), nullptr, nullptr, nullptr) : nullptr};
    if (key && (is_p256(key.get()) || is_ed25519(key.get()))) return key;
    throw Failure{Code::Value, fmt::format("'{}' is no key for this", printable(path)),
                  file ? "it holds no private key of Ed25519 or ECDSA P-256 in PEM" : reason_of_errno(errno),
                  "openssl genpkey -algorithm ED25519 -out bundle.key; "
                  "openssl pkey -in bundle.key -pubout -out bundle.pub"};
}

}  // namespace

std::vector<std::byte> read_public_key(const std::string& path, KeyKind kind) {
    const std::unique_ptr<std::FILE, CloseFile> file{std::fopen(path.c_str(), "re")};
    const Key key{file ? PEM_read_PUBKEY(file.get(), nullptr, nullptr, nullptr) : nullptr};
    unsigned char* raw = nullptr;
    const int size = key && is_usable(key.get(), kind) ? i2d_PUBKEY(key.get(), &raw) : -1;
    if (size <= 0) {
        const std::string wanted = kind == KeyKind::P256 ? "ECDSA P-256" : "Ed25519 or ECDSA P-256";
        throw Failure{
            Code::Value, fmt::format("'{}' is no key for this", printable(path)),
            file ? fmt::format("it holds no public key of {} in PEM", wanted) : reason_of_errno(errno),
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out my.key; "
            "openssl pkey -in my.key -pubout -out my.pem"};
    }
    const auto bytes = std::as_bytes(std::span{raw, static_cast<std::size_t>(size)});
    std::vector<std::byte> der{bytes.begin(), bytes.end()};
    OPENSSL_free(raw);
    return der;
}

std::vector<std::byte> read_signature(const std::string& path) {
    const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    const auto size = fd ? file_size(fd) : os_error("open");
    if (!size || *size > kMaxSignature) {
        throw Failure{Code::Value, fmt::format("'{}' is no signature", printable(path)),
                      size ? "it is too long" : reason_of(size.error()), "openssl pkeyutl -sign makes one"};
    }
    std::vector<std::byte> bytes(*size);
    expect(pread_exact(fd, bytes, 0));
    return bytes;
}

std::string sign_with(const std::string& path, std::string_view text) {
    const Key owned = read_private_key(path);
    EVP_PKEY* const key = owned.get();
    const DigestContext context{EVP_MD_CTX_new()};
    std::string signature(kMaxSignature, '\0');
    std::size_t size = signature.size();
    // SAFETY: bytes as bytes; libcrypto calls them unsigned char.
    auto* const out = reinterpret_cast<unsigned char*>(signature.data());
    const auto* const in = reinterpret_cast<const unsigned char*>(text.data());
    const bool fine = context &&
                      EVP_DigestSignInit(context.get(), nullptr, is_ed25519(key) ? nullptr : EVP_sha256(),
                                         nullptr, key) == 1 &&
                      EVP_DigestSign(context.get(), out, &size, in, text.size()) == 1;
    if (!fine) expect(Result<void>{input_error("libcrypto does not sign with this key")});
    signature.resize(size);
    return signature;
}

}  // namespace holdfast::cli
