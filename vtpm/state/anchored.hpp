// SPDX-License-Identifier: Apache-2.0
// Anchored state: a change is durable first, then the newest that the host's anchor knows, and only then
// answered for (docs/anchor.md). While the anchor restarts, nothing leaves: commit() and confirm() block.
#pragma once

#include <memory>
#include <optional>

#include "sys/fd.hpp"
#include "vtpm/anchor/protocol.hpp"
#include "vtpm/state/commit.hpp"
#include "vtpm/state/identity.hpp"

namespace holdfast::vtpm {

/// What a commit waits for, beside the disk.
enum class Strictness : std::uint8_t {
    Ordinary,  ///< the host's TPM knows it; a power cut of the TPM may make it unprovable
    Strict,    ///< it survives that too, and costs a flash write of the TPM
};

/// One thread at a time.
class Anchored final : public Commit {
public:
    /// `door`: a SEQPACKET socket to the launcher, which answers each message with a connection to the
    /// anchor (cli/anchor_door.hpp). `tenant`: for a new vTPM, whose key may re-anchor it. `disk` makes blobs
    /// durable, and outlives this.
    static Result<std::unique_ptr<Anchored>> create(UniqueFd door, const Id& vm, const anchor::Digest& tenant,
                                                    Strictness strictness, Commit& disk);

    /// Makes this process the one that runs the vTPM; whoever ran it before can commit nothing any more.
    Result<anchor::Granted> start();
    /// What was found on disk and is the newest.
    void hold(const anchor::State& state) noexcept { held_ = state; }
    Result<Outcome> commit(std::uint64_t version, std::span<const std::byte> sealed) override;
    Result<Outcome> retry() override;
    Result<bool> has_room() override;
    /// Whether this is still the instance that runs the vTPM, as far as the anchor has told.
    Result<void> confirm();
    /// An orderly end: the ledger says stopped.
    Result<void> stop();
    [[nodiscard]] const UniqueFd& door() const noexcept { return door_; }

private:
    Anchored(UniqueFd door, const Id& vm, const anchor::Digest& tenant, Strictness strictness,
             Commit& disk) noexcept
        : door_{std::move(door)}, vm_{vm}, tenant_{tenant}, strictness_{strictness}, disk_{&disk} {}
    Result<UniqueFd> connect();
    /// Comes back after the anchor did; then what was pending may have become what is held.
    Result<void> attach();
    Result<Outcome> make_newest(int tries);

    UniqueFd door_;
    UniqueFd anchor_;
    anchor::VmId vm_;
    anchor::Digest tenant_;
    Strictness strictness_;
    anchor::InstanceId instance_{};
    anchor::State held_;                    ///< the newest
    std::optional<anchor::State> pending_;  ///< on disk, and not yet the newest
    Commit* disk_;
};

}  // namespace holdfast::vtpm
