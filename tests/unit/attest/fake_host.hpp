// SPDX-License-Identifier: Apache-2.0
// The quote of a software TPM of the test's own with 24 PCRs, as a part of evidence. Synthetic.
#pragma once

#include <initializer_list>
#include <map>

#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "tests/unit/attest/fake_tpm.hpp"

namespace holdfast::attest::test {

inline Buffer filled(std::size_t size, std::uint8_t value) { return Buffer(size, std::byte{value}); }
inline Buffer copy(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }
inline Buffer sha256(std::initializer_list<std::span<const std::byte>> parts) {
    Sha256 hash;
    for (const auto part : parts) hash.update(part);
    return copy(hash.finish());
}

struct Quoted {
    Buffer attest;
    Buffer signature;
    Buffer key;
    std::map<std::uint32_t, Buffer> pcrs;

    Quoted(const FakeTpm& tpm, Buffer nonce, std::map<std::uint32_t, Buffer> values)
        : key{tpm.public_area()}, pcrs{std::move(values)} {
        Sha256 hash;
        for (const auto& [pcr, value] : pcrs) hash.update(value);
        Statement statement{.nonce = std::move(nonce)};
        statement.selection = {{.alg = 0x000b, .pcrs = 0xffffff}};
        statement.pcr_digest = copy(hash.finish());
        attest = statement.encode();
        signature = tpm.sign(attest);
    }
    [[nodiscard]] HostPart part() const {
        return {.attest = attest,
                .signature = signature,
                .key = key,
                .pcrs = {tpm::GivenPcrs{.bank = 0x000b, .values = pcrs}},
                .event_log = std::nullopt,
                .ima_list = std::nullopt};
    }
};

inline std::map<std::uint32_t, Buffer> some_pcrs() {
    std::map<std::uint32_t, Buffer> pcrs;
    for (std::uint32_t pcr = 0; pcr < 24; ++pcr) pcrs[pcr] = filled(32, static_cast<std::uint8_t>(pcr + 1));
    return pcrs;
}

}  // namespace holdfast::attest::test
