// SPDX-License-Identifier: Apache-2.0
// holdfast-vtpm's side of the state service.
#pragma once

#include <optional>
#include <vector>

#include "sys/fd.hpp"
#include "vtpm/state/commit.hpp"
#include "vtpm/store/protocol.hpp"

namespace holdfast::vtpm {

/// One thread at a time.
class StoreClient final : public Commit {
public:
    /// `socket` is a blocking stream.
    explicit StoreClient(UniqueFd socket) noexcept : socket_{std::move(socket)} {}

    struct Opened {
        store::Status status = store::Status::Ok;  ///< Ok, Empty, Locked or Damaged
        std::uint64_t version = 0;
        std::vector<std::byte> sealed;
    };
    Result<Opened> open();
    /// After open(), for a version that was never answered for: the one before it.
    Result<Opened> go_back();
    Result<Outcome> commit(std::uint64_t version, std::span<const std::byte> sealed) override;
    Result<void> release();
    [[nodiscard]] const UniqueFd& socket() const noexcept { return socket_; }

private:
    Result<Opened> ask(store::Operation operation, std::uint64_t version, std::span<const std::byte> blob);
    UniqueFd socket_;
    std::vector<std::byte> request_;
};

}  // namespace holdfast::vtpm
