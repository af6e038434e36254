// SPDX-License-Identifier: Apache-2.0
#include "sys/mapping.hpp"

#include <cerrno>

#include <sys/mman.h>

namespace holdfast {

Result<Mapping> Mapping::map(int fd, std::size_t size, int protection, int flags, std::uint64_t offset) {
    void* const at = ::mmap(nullptr, size, protection, flags, fd, static_cast<off_t>(offset));
    if (at == MAP_FAILED) return os_error("mmap");
    Mapping mapping{{static_cast<std::byte*>(at), size}};
    if (::madvise(at, size, MADV_DONTDUMP) < 0) return os_error("madvise DONTDUMP");
    if (::madvise(at, size, MADV_DONTFORK) < 0) return os_error("madvise DONTFORK");
    return mapping;
}

Result<Mapping> Mapping::shared(const UniqueFd& fd, std::size_t size, std::uint64_t offset) {
    return map(fd.get(), size, PROT_READ | PROT_WRITE, MAP_SHARED, offset);
}

Result<Mapping> Mapping::anonymous(std::size_t size) {
    return map(-1, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

Result<Mapping> Mapping::reserve(std::size_t size) {
    return map(-1, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

Result<Mapping> Mapping::huge(std::size_t size) {
    Mapping room = HF_TRY(anonymous(size + kHugePage));
    // SAFETY: an address as a number, to find the boundary inside the room.
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(room.data()) % kHugePage;
    std::byte* const start = room.data() + before;
    std::byte* const end = room.data() + room.size();
    room.bytes_ = {start, size};
    if (before != 0) ::munmap(start - before, before);
    if (::munmap(start + size, static_cast<std::size_t>(end - start) - size) < 0)
        return os_error("trim memory");
    // EINVAL: a kernel without huge pages.
    if (::madvise(start, size, MADV_HUGEPAGE) < 0 && errno != EINVAL) return os_error("madvise HUGEPAGE");
    return room;
}

Mapping::~Mapping() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace holdfast
