// SPDX-License-Identifier: Apache-2.0
// The permanent state of the vTPM over time: opened sealed, numbered, and sealed again for each change.
#pragma once

#include <optional>

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

    /// Takes the state for this process. None: another process has it. A blob in plain for Engine::load,
    /// empty if there never was one. Damaged and foreign states are Input errors.
    Result<std::optional<StateBlob>> open();
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

    /// Returns when `permanent` is the state that a restart finds.
    Result<void> commit(std::span<const std::byte> permanent);

    /// For a migration: the state stays on disk, and another process may take it.
    Result<void> release();
    Result<std::vector<std::byte>> seal(SealedType type, std::span<const std::byte> plain) const {
        return sealer_.seal(type, version_, plain);
    }
    [[nodiscard]] Result<Sealer::Opened> unseal(SealedType type, std::span<const std::byte> sealed) const {
        return sealer_.open(type, sealed);
    }

private:
    Sealer sealer_;
    StoreClient& store_;
    Commit& commit_;
    std::uint64_t version_ = 0;
    bool open_ = false;
};

}  // namespace holdfast::vtpm
