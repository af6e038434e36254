// SPDX-License-Identifier: Apache-2.0
// The launch digest of a SEV-SNP guest that another VMM launches with OVMF: firmware, kernel hashes and
// vCPU states in the order in which that VMM hands them to the firmware of the processor. Left out: SVSM
// and IGVM.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "memcrypt/snp/kernel_hashes.hpp"
#include "memcrypt/snp/ovmf.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::memcrypt::snp {

/// Who launches; each fills the vCPU state and orders the pages in its own way.
enum class Vmm : std::uint8_t { Qemu, Ec2, Gce };

struct Launch {
    Vmm vmm = Vmm::Qemu;
    std::uint32_t vcpus = 1;
    std::uint32_t cpu_signature = 0;   ///< QEMU only: what RDX starts with
    std::uint64_t guest_features = 1;  ///< SEV_FEATURES
    std::optional<KernelHashes> kernel;
    std::optional<Digest384> firmware_digest;  ///< of the firmware's pages, instead of the image's own
};

/// `image` is what `firmware` was parsed from.
Result<Digest384> launch_digest(std::span<const std::byte> image, const Firmware& firmware,
                                const Launch& launch);

}  // namespace holdfast::memcrypt::snp
