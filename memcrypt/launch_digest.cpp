// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/launch_digest.hpp"

#include <cstddef>

#include "sys/wire/endian.hpp"

namespace holdfast::memcrypt {
namespace {

namespace wire {
struct PageInfo {
    Digest384 digest_current;
    Digest384 contents;  // 0x30
    Le<std::uint16_t> length{0x70};
    std::uint8_t page_type = 0;  // 0x62
    std::uint8_t imi_page = 0;
    std::uint8_t vmpl3_permissions = 0;
    std::uint8_t vmpl2_permissions = 0;
    std::uint8_t vmpl1_permissions = 0;
    std::uint8_t reserved = 0;
    Le<std::uint64_t> gpa;  // 0x68
};
static_assert(sizeof(PageInfo) == 0x70 && alignof(PageInfo) == 1);
static_assert(offsetof(PageInfo, page_type) == 0x62 && offsetof(PageInfo, gpa) == 0x68);
}  // namespace wire

}  // namespace

void LaunchDigest::add_hashed(PageType type, GuestAddr at, const Digest384& contents) noexcept {
    const wire::PageInfo info{.digest_current = value_,
                              .contents = contents,
                              .page_type = static_cast<std::uint8_t>(type),
                              .gpa = at.value()};
    value_ = sha384(std::as_bytes(std::span{&info, 1}));
}

}  // namespace holdfast::memcrypt
