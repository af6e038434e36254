// SPDX-License-Identifier: Apache-2.0
#include "cli/tenant_key.hpp"

#include <array>
#include <cstdio>
#include <memory>
#include <string_view>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "sys/free_with.hpp"

namespace holdfast::cli {
namespace {

struct CloseFile {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

bool is_usable(const EVP_PKEY* key) {
    if (EVP_PKEY_is_a(key, "ED25519") == 1) return true;
    std::array<char, 64> group{};
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1 &&
           std::string_view{group.data()} == "prime256v1";
}

}  // namespace

std::vector<std::byte> read_tenant_key(const std::string& path) {
    const std::unique_ptr<std::FILE, CloseFile> file{std::fopen(path.c_str(), "re")};
    const std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>> key{
        file ? PEM_read_PUBKEY(file.get(), nullptr, nullptr, nullptr) : nullptr};
    unsigned char* raw = nullptr;
    const int size = key && is_usable(key.get()) ? i2d_PUBKEY(key.get(), &raw) : -1;
    if (size <= 0) {
        throw Failure{Code::Value, fmt::format("'{}' is no tenant's key", printable(path)),
                      file ? "it holds no public key of Ed25519 or P-256 in PEM" : reason_of_errno(errno),
                      "openssl genpkey -algorithm ed25519 -out tenant.key; "
                      "openssl pkey -in tenant.key -pubout -out tenant.pem"};
    }
    const auto bytes = std::as_bytes(std::span{raw, static_cast<std::size_t>(size)});
    std::vector<std::byte> der{bytes.begin(), bytes.end()};
    OPENSSL_free(raw);
    return der;
}

}  // namespace holdfast::cli
