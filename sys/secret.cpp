// SPDX-License-Identifier: Apache-2.0
#include "sys/secret.hpp"

#include <string.h>  // explicit_bzero is not in <cstring>
#include <sys/mman.h>

namespace holdfast {

void wipe(std::span<std::byte> bytes) noexcept { ::explicit_bzero(bytes.data(), bytes.size()); }

bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
    if (a.size() != b.size()) return false;
    std::byte difference{};
    for (std::size_t i = 0; i < a.size(); ++i) difference |= a[i] ^ b[i];
    return difference == std::byte{};
}

Result<SecretBytes> SecretBytes::create(std::size_t size) {
    Mapping pages = HF_TRY(Mapping::anonymous(size));
    if (::mlock(pages.data(), pages.size()) < 0) return os_error("mlock secret");
    return SecretBytes{std::move(pages), size};
}

}  // namespace holdfast
