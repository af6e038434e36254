// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/snp/kernel_hashes.hpp"

#include <cstring>

#include "memcrypt/snp/guid.hpp"

namespace holdfast::memcrypt::snp {
namespace {

constexpr Guid kTableGuid{0x9438d606, 0x4f22, 0x4cc9, {0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21}};
constexpr Guid kCmdlineGuid{0x97d02dd8, 0xbd20, 0x4c94, {0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a}};
constexpr Guid kInitrdGuid{0x44baf731, 0x3a2f, 0x4bd7, {0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d}};
constexpr Guid kKernelGuid{0x4de79437, 0xabd2, 0x427f, {0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b}};

namespace wire {
struct Entry {
    Guid guid;
    Le<std::uint16_t> size{50};
    Digest256 hash{};
};
static_assert(sizeof(Entry) == 50);

struct Table {
    Guid guid;
    Le<std::uint16_t> size{168};
    Entry cmdline;
    Entry initrd;
    Entry kernel;
    std::array<std::byte, 8> padding{};  // to whole 16 bytes; not counted in `size`
};
static_assert(sizeof(Table) == 176 && alignof(Table) == 1);
}  // namespace wire

}  // namespace

Result<std::array<std::byte, kPageSize>> kernel_hashes_page(const KernelHashes& hashes,
                                                            std::uint64_t offset) {
    std::array<std::byte, kPageSize> page{};
    if (offset > page.size() - sizeof(wire::Table))
        return input_error("firmware wants its table of kernel hashes across the end of a page");
    const wire::Table table{.guid = kTableGuid,
                            .cmdline = {.guid = kCmdlineGuid, .hash = hashes.cmdline},
                            .initrd = {.guid = kInitrdGuid, .hash = hashes.initrd},
                            .kernel = {.guid = kKernelGuid, .hash = hashes.kernel}};
    std::memcpy(page.data() + offset, &table, sizeof table);
    return page;
}

}  // namespace holdfast::memcrypt::snp
