// SPDX-License-Identifier: Apache-2.0
// A LUKS2 disk, by Debian's cryptsetup. The disk is its host's: what is read from it is judged by whoever
// asked.
#pragma once

#include <optional>
#include <string>

#include "guest_agent/crypto/key.hpp"

namespace holdfast::agent {

/// It becomes /dev/mapper/NAME.
Result<void> open_luks(const std::string& device, const std::string& name, Bytes key);

/// Tokens are small JSON objects in the disk's header (LUKS2 On-Disk Format 1.1.1, §3.6). Ours is
/// {"type": "holdfast", "keyslots": [], "sealed": "HEX"}; this is what it has under "sealed". None: there is
/// no such token, or it is not ours.
Result<std::optional<std::vector<std::byte>>> read_token(const std::string& device, unsigned id);
/// In place of the one with this id. On the disk when it returns.
Result<void> write_token(const std::string& device, unsigned id, Bytes sealed);

}  // namespace holdfast::agent
