// SPDX-License-Identifier: Apache-2.0
// The seam between "the TPM has changed its state" and "its reply may leave". Every reply waits for it
// (vtpm/service.cpp, Service::release). The second half is the state service; with anchored state, the one
// that waits for the host TPM's counter as well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/result.hpp"

namespace holdfast::vtpm {

enum class Outcome : std::uint8_t {
    Newest,  ///< the state will outlive the host, and a restart can only find it or a later one
    PutOff,  ///< over a budget: a restart finds the one before it. Nothing may speak of it yet; retry() later
};

class Commit {
public:
    virtual ~Commit() = default;
    Commit(const Commit&) = delete;
    Commit& operator=(const Commit&) = delete;

    /// Makes the blob the newest state, as `version`. Not while one is put off. After an error the caller's
    /// memory is ahead of what a restart finds: it must end, unanswered.
    virtual Result<Outcome> commit(std::uint64_t version, std::span<const std::byte> sealed) = 0;
    /// What was put off, once more. Newest if nothing is.
    virtual Result<Outcome> retry() { return Outcome::Newest; }
    /// Whether a commit would be put off now. Asked before a command that stores, so that none is run whose
    /// answer would have to wait.
    virtual Result<bool> has_room() { return true; }

protected:
    Commit() = default;
};

}  // namespace holdfast::vtpm
