// SPDX-License-Identifier: Apache-2.0
// The witness of a group's epochs in the guest's vTPM: a counter that only goes up, and whose state is not in
// the memory that a host can put back. What puts back the vTPM is its anchor's affair (docs/anchor.md).
#pragma once

#include "guest_agent/group/member.hpp"
#include "guest_agent/keystore/commands.hpp"

namespace holdfast::agent::keystore {

inline constexpr std::uint32_t kEpochIndex = 0x01801911;

/// One thread.
class TpmWitness final : public group::EpochWitness {
public:
    explicit TpmWitness(RunCommand run) noexcept : run_{std::move(run)} {}
    /// Makes the counter where there is none.
    Result<std::uint64_t> value() override;
    Result<std::uint64_t> advance() override;

private:
    RunCommand run_;
};

}  // namespace holdfast::agent::keystore
