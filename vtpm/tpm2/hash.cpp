// SPDX-License-Identifier: Apache-2.0
#include "vtpm/tpm2/hash.hpp"

#include <algorithm>

#include "sys/result.hpp"

namespace holdfast::tpm2 {

std::optional<Alg> known_alg(std::uint16_t number) noexcept {
    for (const Alg alg : {Alg::SHA256, Alg::SHA384}) {
        if (static_cast<std::uint16_t>(alg) == number) return alg;
    }
    return std::nullopt;
}

std::size_t digest_size(Alg alg) noexcept {
    switch (alg) {
        case Alg::SHA256: return sizeof(Digest256);
        case Alg::SHA384: return sizeof(Digest384);
    }
    bug("digest of an unknown algorithm");
}

std::string_view alg_name(Alg alg) noexcept {
    switch (alg) {
        case Alg::SHA256: return "sha256";
        case Alg::SHA384: return "sha384";
    }
    bug("name of an unknown algorithm");
}

Hash::Hash(Alg alg) noexcept : alg_{alg} {
    if (alg == Alg::SHA384) running_.emplace<Sha384>();
}

void Hash::update(std::span<const std::byte> bytes) noexcept {
    std::visit([bytes](auto& running) { running.update(bytes); }, running_);
}

Digest Hash::finish() noexcept {
    Digest digest{.alg = alg_};
    std::visit([&](auto& running) { std::ranges::copy(running.finish(), digest.storage.begin()); }, running_);
    return digest;
}

Digest hash(Alg alg, std::span<const std::byte> bytes) noexcept {
    Hash running{alg};
    running.update(bytes);
    return running.finish();
}

}  // namespace holdfast::tpm2
