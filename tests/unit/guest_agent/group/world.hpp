// SPDX-License-Identifier: Apache-2.0
// What tests of groups stand on: evidence that a fake machine signs, a counter, and a look into a member's
// memory.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "guest_agent/crypto/kdf.hpp"
#include "guest_agent/group/member.hpp"

namespace holdfast::agent::group {

/// Stands in for TPM and verifier: evidence is a signature of the binding by the one machine that all trust.
struct FakeMachine {
    SigningKey key = *make_signing_key();
    [[nodiscard]] Evidence evidence() const {
        return [this](const Digest256& binding) -> Result<std::vector<std::byte>> {
            const auto signature = HF_TRY(sign(key.secret, binding));
            return std::vector<std::byte>{signature.begin(), signature.end()};
        };
    }
};

struct FakePolicy final : Admission {
    explicit FakePolicy(const FakeMachine& trusted) : machine{trusted} {}
    Result<void> judge(const Digest256& binding, const KeyPackage& package) override {
        if (package.name == refused) return peer_fault("this member's policy refuses it");
        if (!is_signed(machine.key.shared, binding, package.evidence)) return peer_fault("no evidence");
        return {};
    }
    const FakeMachine& machine;
    std::string refused;
};

struct FakeCounter final : EpochWitness {
    Result<std::uint64_t> value() override { return count; }
    Result<std::uint64_t> advance() override { return ++count; }
    std::uint64_t count = 40;
};

/// The thief: all secrets that a member holds.
struct MemberProbe {
    static std::vector<Key> secrets(const Member& member) {
        std::vector<Key> found;
        if (member.keys_) {
            for (const Key* const key : {&member.keys_->chain, &member.keys_->message, &member.keys_->exports,
                                         &member.keys_->confirm}) {
                found.push_back(key->copy());
            }
        }
        if (member.receiving_) found.push_back(member.receiving_->secret.copy());
        if (member.pending_) found.push_back(member.pending_->secret.copy());
        return found;
    }
    static const Key& chain(const Member& member) { return member.keys_->chain; }
    static const EpochKeys& keys(const Member& member) { return *member.keys_; }
    static const AgreementKey& receiving(const Member& member) { return *member.receiving_; }
    static AgreementKey stolen_receiving(const Member& member) {
        return {.secret = member.receiving_->secret.copy(), .shared = member.receiving_->shared};
    }
    static const SigningKey& signing(const Member& member) { return member.signing_; }
};

inline GroupSettings settings_of(std::string name) {
    return {.group = {std::byte{'g'}}, .policy = {std::byte{'p'}}, .name = std::move(name)};
}

}  // namespace holdfast::agent::group
