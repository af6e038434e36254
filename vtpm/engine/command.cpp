// SPDX-License-Identifier: Apache-2.0
#include "vtpm/engine/command.hpp"

#include <algorithm>
#include <cstring>

#include "sys/wire/endian.hpp"

namespace holdfast::vtpm {
namespace {

struct WireHead {
    Be<std::uint16_t> tag;
    Be<std::uint32_t> size;
    Be<std::uint32_t> code;
};
static_assert(sizeof(WireHead) == kHeadBytes);

// Part 3: EvictControl, HierarchyControl, NV_UndefineSpace, ChangeEPS, ChangePPS, Clear, ClearControl,
// ClockSet, HierarchyChangeAuth, NV_DefineSpace, PCR_Allocate, PCR_SetAuthPolicy, PP_Commands,
// SetPrimaryPolicy, NV_UndefineSpaceSpecial, DictionaryAttackLockReset, DictionaryAttackParameters,
// NV_ChangeAuth, NV_Increment, NV_SetBits, NV_Extend, NV_Write, NV_WriteLock, NV_ReadLock.
constexpr std::array<std::uint32_t, 24> kStoring{0x120, 0x121, 0x122, 0x124, 0x125, 0x126, 0x127, 0x128,
                                                 0x129, 0x12a, 0x12b, 0x12c, 0x12d, 0x12e, 0x11f, 0x139,
                                                 0x13a, 0x13b, 0x134, 0x135, 0x136, 0x137, 0x138, 0x14f};

}  // namespace

CommandHead head_of(std::span<const std::byte> bytes) noexcept {
    WireHead head;
    std::memcpy(&head, bytes.first(sizeof head).data(), sizeof head);
    return {.tag = head.tag.get(), .size = head.size.get(), .code = head.code.get()};
}

std::array<std::byte, kHeadBytes> bare_response(std::uint32_t code) noexcept {
    const WireHead head{.tag = tpm::ST_NO_SESSIONS, .size = kHeadBytes, .code = code};
    std::array<std::byte, kHeadBytes> bytes{};
    std::memcpy(bytes.data(), &head, sizeof head);
    return bytes;
}

bool always_stores(std::uint32_t code) noexcept {
    return std::ranges::find(kStoring, code) != kStoring.end();
}

}  // namespace holdfast::vtpm
