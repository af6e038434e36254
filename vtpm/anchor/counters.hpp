// SPDX-License-Identifier: Apache-2.0
// The two monotonic counters that the anchor stands on, as the protocol needs them. The interface is a
// seam: the host's TPM (host_tpm.hpp), and in tests one that fails at any call.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sys/result.hpp"
#include "vtpm/anchor/leaf.hpp"
#include "vtpm/anchor/refusal.hpp"

namespace holdfast::anchor {

/// What a verifier gets from the TPM: TPMS_ATTEST and TPMT_SIGNATURE, as the TPM marshals them.
struct Certified {
    std::vector<std::byte> attest;
    std::vector<std::byte> signature;
};
struct Certificate {
    Certified o;
    Certified s;
};

struct Reading {
    std::uint64_t o = 0;
    std::uint64_t s = 0;
    std::uint32_t reset_count = 0;
};

/// One thread; every call may take as long as the TPM does. After any error the caller ends: no call is
/// repeated, because nobody knows whether a lost answer had moved a counter.
class Counters {
public:
    Counters() = default;
    Counters(const Counters&) = delete;
    Counters& operator=(const Counters&) = delete;
    virtual ~Counters() = default;

    /// Gives both counters new authValues, known to this instance alone. Before this no other call.
    virtual std::expected<void, Refusal> fence() = 0;
    /// Both counters, under those authValues and with the TPM's answer authenticated.
    virtual Result<Reading> read() = 0;
    virtual Result<void> advance_o() = 0;
    virtual Result<void> advance_s() = 0;
    /// NV_Certify of both counters with `about` as qualifying data.
    virtual Result<Certificate> certify(const Digest& about) = 0;
    /// What O's low bits are set to by a power cut: 255 in most TPMs.
    [[nodiscard]] virtual std::uint64_t jump_bits() const noexcept = 0;
};

}  // namespace holdfast::anchor
