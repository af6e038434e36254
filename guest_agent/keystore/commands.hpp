// SPDX-License-Identifier: Apache-2.0
// The TPM commands that sealing to PCRs and a counter needs (TPM 2.0 Library 1.59, Parts 2 and 3), in the
// guest's own hierarchy, whose password is empty: what protects is the policy.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "guest_agent/crypto/key.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent::keystore {

/// Runs one command and gives its response: /dev/tpmrm0 (tpm_device.hpp), or a TPM in memory for tests.
using RunCommand = std::function<Result<std::vector<std::byte>>(std::vector<std::byte> command)>;

struct Sealed {
    std::vector<std::byte> public_area;   ///< TPM2B_PUBLIC, whole
    std::vector<std::byte> private_area;  ///< TPM2B_PRIVATE, whole
};

/// Loaded objects and sessions are flushed when this ends, whatever happens.
class Session {
public:
    explicit Session(RunCommand run) noexcept : run_{std::move(run)} {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();

    /// The storage key of the owner's hierarchy (ECC P-256, AES-128-CFB): the same one each time.
    Result<std::uint32_t> storage_key();
    enum class Kind : std::uint8_t { Policy = 1, Trial = 3 };
    Result<std::uint32_t> start(Kind kind);
    /// To the values that the PCRs have now; `pcrs`: bit n is PCR n, of bank SHA-256.
    Result<void> policy_pcr(std::uint32_t session, std::uint32_t pcrs);
    /// That the counter has this value.
    Result<void> policy_counter(std::uint32_t session, std::uint32_t index, std::uint64_t value);
    Result<Digest256> policy_digest(std::uint32_t session);
    Result<Sealed> seal(std::uint32_t parent, const Digest256& policy, Bytes secret);
    Result<std::uint32_t> load(std::uint32_t parent, const Sealed& sealed);
    /// An Input error if the policy does not hold: other PCRs, or another count.
    Result<SecretBuffer> unseal(std::uint32_t object, std::uint32_t session);

    [[nodiscard]] Result<bool> has_counter(std::uint32_t index);
    Result<void> define_counter(std::uint32_t index);
    Result<void> increment(std::uint32_t index);
    Result<std::uint64_t> read_counter(std::uint32_t index);

private:
    /// The body of a successful answer, behind handles and sizes.
    Result<std::vector<std::byte>> run(std::vector<std::byte> command, const char* what);
    RunCommand run_;
    std::vector<std::uint32_t> loaded_;
};

}  // namespace holdfast::agent::keystore
