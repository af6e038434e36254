// SPDX-License-Identifier: Apache-2.0
// The guest's encrypted disk. At the first boot of a vTPM the broker gives its key; from then on only this
// vTPM does, to this image, from the newest disk: the key is sealed in a token of the disk's header, anew at
// each boot, for the next value of a counter. So a disk from before the last boot does not open, and neither
// does one without a token: the broker is not asked again, for it cannot know which disk is the newest.
#pragma once

#include "guest_agent/agent/config.hpp"

namespace holdfast::agent {

inline constexpr const char* kDiskName = "disk";  ///< in /dev/mapper

/// Opens and mounts what `config` says.
Result<void> open_disk(const Config& config);

/// The guest's read-only data, after the disk on which its place may be.
Result<void> open_verity(const Config& config);

}  // namespace holdfast::agent
