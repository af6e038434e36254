// SPDX-License-Identifier: Apache-2.0
// The hash algorithms of PCR banks, and digests that know theirs.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "sys/sha2.hpp"
#include "vtpm/tpm2/spec.hpp"

namespace holdfast::tpm2 {

inline constexpr std::size_t kMaxDigest = 48;

/// An algorithm that we compute, from a number that came from elsewhere; else none.
[[nodiscard]] std::optional<Alg> known_alg(std::uint16_t number) noexcept;
[[nodiscard]] std::size_t digest_size(Alg alg) noexcept;
/// "sha256": as in tpm2-tools, policies and JSON.
[[nodiscard]] std::string_view alg_name(Alg alg) noexcept;

struct Digest {
    Alg alg = Alg::SHA256;
    std::array<std::byte, kMaxDigest> storage{};  ///< zero behind the digest

    [[nodiscard]] std::span<std::byte> bytes() noexcept { return std::span{storage}.first(digest_size(alg)); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::span{storage}.first(digest_size(alg));
    }
    friend bool operator==(const Digest&, const Digest&) noexcept = default;
};

/// One running hash; finish() is the last call.
class Hash {
public:
    explicit Hash(Alg alg) noexcept;
    void update(std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] Digest finish() noexcept;

private:
    Alg alg_;
    std::variant<Sha256, Sha384> running_;
};

[[nodiscard]] Digest hash(Alg alg, std::span<const std::byte> bytes) noexcept;

}  // namespace holdfast::tpm2
