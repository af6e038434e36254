// SPDX-License-Identifier: Apache-2.0
// What a firmware image of the OVMF family says about itself: the GUID table at its end, and the pages
// that the launch must prepare for it (edk2, OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm and
// OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm). The image is hostile input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "memcrypt/address.hpp"
#include "sys/result.hpp"

namespace holdfast::memcrypt::snp {

enum class SectionType : std::uint32_t {
    SecMem = 1,
    Secrets = 2,
    Cpuid = 3,
    SvsmCaa = 4,
    KernelHashes = 0x10
};

/// Whole pages, below 4 GiB.
struct Section {
    GuestAddr start;
    std::uint64_t size = 0;
    SectionType type = SectionType::SecMem;
};

inline constexpr std::uint64_t kMaxFirmware = 64ULL << 20;
inline constexpr std::size_t kMaxSections = 256;
inline constexpr std::uint64_t kMaxPrepared = 1ULL << 30;  ///< all sections together: each page costs a hash

struct Firmware {
    GuestAddr load;                 ///< it ends at 4 GiB
    std::uint32_t ap_entry = 0;     ///< EIP of the application processors; 0: the image has none
    std::uint32_t hash_table = 0;   ///< GPA of the table of kernel hashes; 0: the image has none
    std::vector<Section> sections;  ///< in the order of the image, which is the order of the launch
};

/// Errors are Input errors that name what is wrong.
Result<Firmware> parse_firmware(std::span<const std::byte> image);

}  // namespace holdfast::memcrypt::snp
