// SPDX-License-Identifier: Apache-2.0
// Firmware images of the OVMF family: the GUID table, the SEV metadata and what is computed from them.
// Whatever the bytes, the answer is an error or a digest, after bounded work.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "memcrypt/snp/measure.hpp"

using namespace holdfast;
using namespace holdfast::memcrypt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Shorter inputs are the end of a page: the table is read from there.
    std::vector<std::byte> image((size + kPageSize - 1) / kPageSize * kPageSize);
    const auto bytes = std::as_bytes(std::span{data, size});
    std::ranges::copy(bytes, image.end() - static_cast<std::ptrdiff_t>(size));
    const auto firmware = snp::parse_firmware(image);
    if (!firmware) return 0;
    std::uint64_t prepared = 0;
    for (const snp::Section& section : firmware->sections) {
        prepared += section.size;
        if (section.size % kPageSize != 0 || section.start.value() + section.size > 1ULL << 32) std::abort();
    }
    if (prepared > snp::kMaxPrepared) std::abort();
    // A whole GiB would only make the fuzzer slow.
    if (prepared > 16ULL << 20) return 0;
    for (const auto vmm : {snp::Vmm::Qemu, snp::Vmm::Ec2, snp::Vmm::Gce}) {
        const snp::Launch launch{.vmm = vmm, .vcpus = 2, .kernel = snp::KernelHashes{}};
        [[maybe_unused]] const auto digest = snp::launch_digest(image, *firmware, launch);
    }
    return 0;
}
