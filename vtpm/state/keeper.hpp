// SPDX-License-Identifier: Apache-2.0
// The permanent state of the vTPM over time: opened sealed, numbered, and sealed again for each change.
#pragma once

#include <optional>

#include "vtpm/state/anchored.hpp"
#include "vtpm/state/seal.hpp"
#include "vtpm/state/store_client.hpp"

namespace holdfast::vtpm {

/// One thread at a time.
class Keeper {
public:
    /// `commit` is where changes go: the store itself, or something in front of it that holds them back.
    /// Both outlive the keeper.
    Keeper(Sealer sealer, StoreClient& store, Commit& commit) noexcept
        : sealer_{std::move(sealer)}, store_{store}, commit_{commit} {}
    /// With a host's anchor: only the newest state is opened, and with a key that the anchor has its part
    /// in. `key_room` is where that key will lie, kStateKeyBytes of it.
    Keeper(Sealer sealer, StoreClient& store, Anchored& anchored, SecretBytes key_room) noexcept
        : sealer_{std::move(sealer)},
          store_{store},
          commit_{anchored},
          anchored_{&anchored},
          key_room_{std::move(key_room)} {}

    /// Takes the state for this process. None: another process has it. A blob in plain for Engine::load,
    /// empty if there never was one. Damaged and foreign states are Input errors.
    Result<std::optional<StateBlob>> open();
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    [[nodiscard]] bool is_anchored() const noexcept { return anchored_ != nullptr; }
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

    /// Makes `permanent` the state that a restart finds: Commit::commit().
    Result<Outcome> commit(std::span<const std::byte> permanent);
    Result<Outcome> retry() { return commit_.retry(); }
    Result<bool> has_room() { return commit_.has_room(); }
    /// Nobody else goes on from this state. Before each reply that no commit stands before.
    Result<void> confirm() { return anchored_ != nullptr && open_ ? anchored_->confirm() : Result<void>{}; }
    /// An orderly end.
    Result<void> stop() { return anchored_ != nullptr && open_ ? anchored_->stop() : Result<void>{}; }

    /// For a migration: the state stays on disk, and another process may take it.
    Result<void> release();
    Result<std::vector<std::byte>> seal(SealedType type, std::span<const std::byte> plain) const {
        return sealer_.seal(type, version_, plain);
    }
    [[nodiscard]] Result<Sealer::Opened> unseal(SealedType type, std::span<const std::byte> sealed) const {
        return sealer_.open(type, sealed);
    }

private:
    Result<StateBlob> open_anchored(StoreClient::Opened stored);
    Result<StateBlob> bring_in(const StoreClient::Opened& stored, Sealer anchored);
    Result<void> commit_or_refuse(const StateBlob& plain);

    Sealer sealer_;
    StoreClient& store_;
    Commit& commit_;
    Anchored* anchored_ = nullptr;
    std::optional<SecretBytes> key_room_;
    std::uint64_t version_ = 0;
    bool open_ = false;
};

}  // namespace holdfast::vtpm
