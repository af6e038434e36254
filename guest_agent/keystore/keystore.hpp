// SPDX-License-Identifier: Apache-2.0
// A secret that only this guest's vTPM gives back, only to the software that sealed it (PCRs), and only from
// the newest file: each sealing is for one value of a counter in the vTPM. So an older file put back does not
// open; that the vTPM itself is not put back is its anchor's affair (docs/anchor.md). Whoever emulates the
// vTPM sees the secret when it is sealed and unsealed: that is the host's software.
#pragma once

#include "guest_agent/keystore/commands.hpp"

namespace holdfast::agent::keystore {

/// Counters of what is sealed, each on its own: NV indices of the owner's range (TCG Registry of Reserved TPM
/// Handles, 0x01800000 on).
enum class Counter : std::uint32_t { File = 0x01801910, Disk = 0x01801912 };
/// A counter that never counts: that it is there says that the disk's key was sealed once, to the end.
inline constexpr std::uint32_t kDiskMark = 0x01801913;
/// What our VMM measures before the guest's first instruction, and what the guest extends while it boots.
inline constexpr std::uint32_t kPcrs = 0x3ff;   // 0 to 9
inline constexpr std::size_t kMaxSecret = 128;  ///< MAX_SYM_DATA, bytes
inline constexpr std::size_t kMaxFile = 4096;

/// The bytes of a file, for the counter's next value: the file counts once advance() was called, and until
/// then the one before does. Makes the counter if there is none.
[[nodiscard]] Result<std::vector<std::byte>> seal_for_next(const RunCommand& run, Bytes secret,
                                                           Counter counter = Counter::File);
/// From now on only what was sealed for the next value opens. After a crash between the two, both files are
/// there and unseal() takes one of them.
[[nodiscard]] Result<void> advance(const RunCommand& run, Counter counter = Counter::File);
/// An Input error says why not: another TPM, other PCRs, an older file.
[[nodiscard]] Result<SecretBuffer> unseal(const RunCommand& run, Bytes file, Counter counter = Counter::File);

[[nodiscard]] Result<bool> is_disk_marked(const RunCommand& run);
[[nodiscard]] Result<void> mark_disk(const RunCommand& run);

}  // namespace holdfast::agent::keystore
