// SPDX-License-Identifier: Apache-2.0
// The seam between "the TPM has changed its state" and "its reply may leave". Every reply waits for it
// (vtpm/service.cpp, Service::release). Today the second half is the state service; with anchored
// state, the one that waits for the host TPM's counter as well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/result.hpp"

namespace holdfast::vtpm {

class Commit {
public:
    virtual ~Commit() = default;
    Commit(const Commit&) = delete;
    Commit& operator=(const Commit&) = delete;

    /// Returns once the blob will outlive the host as `version`, and a restart can only find it or a
    /// later one. After an error the caller's memory is ahead of what a restart finds: it must end,
    /// unanswered.
    virtual Result<void> commit(std::uint64_t version, std::span<const std::byte> sealed) = 0;

protected:
    Commit() = default;
};

}  // namespace holdfast::vtpm
