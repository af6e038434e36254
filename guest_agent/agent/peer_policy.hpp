// SPDX-License-Identifier: Apache-2.0
// Whom this guest accepts beside it in a group, and at the other end of a channel: guests that were started
// as it was itself (PCRs 0 to 9 of their vTPM are its own), on hosts that its image names, by evidence made
// for this very key package or connection.
#pragma once

#include <memory>
#include <vector>

#include "attest/verify/whole.hpp"
#include "guest_agent/agent/config.hpp"
#include "guest_agent/group/member.hpp"

namespace holdfast::agent {

/// One thread.
class PeerPolicy final : public group::Admission {
public:
    /// `names`: who may be in the group.
    static Result<std::unique_ptr<PeerPolicy>> create(const Config& config, std::vector<std::string> names);
    /// What all members must agree on: how they were started, where, and who they are.
    [[nodiscard]] Digest256 digest() const;
    /// What is wrong is logged, code by code.
    Result<void> judge(const Digest256& binding, const group::KeyPackage& package) override;
    /// Of whoever: `name` is for the log.
    Result<void> judge_evidence(const Digest256& binding, Bytes evidence, std::string_view name) const;

private:
    explicit PeerPolicy(std::vector<std::string> names) noexcept : names_{std::move(names)} {}
    std::vector<std::string> names_;
    std::vector<std::vector<std::byte>> hosts_;
    attest::WholePolicy policy_;
};

}  // namespace holdfast::agent
