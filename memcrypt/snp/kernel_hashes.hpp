// SPDX-License-Identifier: Apache-2.0
// The page by which QEMU tells OVMF which kernel, initrd and command line are part of the launch
// (QEMU 10.0, target/i386/sev.c, sev_add_kernel_loader_hashes).
#pragma once

#include <array>
#include <cstdint>

#include "memcrypt/address.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::memcrypt::snp {

struct KernelHashes {
    Digest256 cmdline;  ///< of the text and its zero byte
    Digest256 initrd;   ///< of nothing if there is none
    Digest256 kernel;
};

/// The table of hashes at this offset of an otherwise empty page. Input error: it does not fit there.
Result<std::array<std::byte, kPageSize>> kernel_hashes_page(const KernelHashes& hashes, std::uint64_t offset);

}  // namespace holdfast::memcrypt::snp
