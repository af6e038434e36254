// SPDX-License-Identifier: Apache-2.0
#include "sys/secret.hpp"

#include <array>

#include <fcntl.h>
#include <string.h>  // explicit_bzero is not in <cstring>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast {
namespace {

constexpr std::size_t kPage = 4096;

/// Maps secret memory of the kernel's at `at`. False: this kernel has none, or none for us.
bool map_memfd_secret(void* at, std::size_t size) noexcept {
    const UniqueFd file{static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC))};
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) < 0) return false;
    return ::mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.get(), 0) != MAP_FAILED;
}

/// The next best: ordinary memory that is never swapped.
Result<void> map_locked(void* at, std::size_t size) noexcept {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (::mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return os_error("mmap secret");
    if (::mlock(at, size) < 0) return os_error("mlock secret");
    return {};
}

}  // namespace

void wipe(std::span<std::byte> bytes) noexcept {
    if (!bytes.empty()) ::explicit_bzero(bytes.data(), bytes.size());  // which wants no null pointer
}

[[gnu::noinline]] void wipe_stack() noexcept {
    std::array<std::byte, 1024> below;
    wipe(below);
}

bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
    if (a.size() != b.size()) return false;
    std::byte difference{};
    for (std::size_t i = 0; i < a.size(); ++i) difference |= a[i] ^ b[i];
    return difference == std::byte{};
}

Result<SecretBytes> SecretBytes::create(std::size_t size) {
    const std::size_t whole_pages = (size + kPage - 1) / kPage * kPage;
    Mapping pages = HF_TRY(Mapping::reserve(kPage + whole_pages + kPage));
    std::byte* const at = pages.data() + kPage;
    if (!map_memfd_secret(at, whole_pages)) HF_TRY(map_locked(at, whole_pages));
    // Again, for what was mapped over the reservation. Children do not get it at all, which is more than
    // MADV_WIPEONFORK would do.
    if (::madvise(at, whole_pages, MADV_DONTDUMP) < 0) return os_error("madvise secret DONTDUMP");
    if (::madvise(at, whole_pages, MADV_DONTFORK) < 0) return os_error("madvise secret DONTFORK");
    return SecretBytes{std::move(pages), {at, size}};
}

}  // namespace holdfast
