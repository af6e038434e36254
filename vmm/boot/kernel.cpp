// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/kernel.hpp"

namespace holdfast::boot {

std::uint64_t low_ram_end(const memcrypt::GuestMemory& memory) noexcept {
    const memcrypt::Region& low = memory.regions().front();
    return low.start.value() + low.host.size();
}

Result<Kernel> load_kernel(Loader& loader, const UniqueFd& file, ElfEntry elf_entry) {
    constexpr std::array kElfMagic{std::byte{0x7f}, std::byte{'E'}, std::byte{'L'}, std::byte{'F'}};
    std::array<std::byte, kElfMagic.size()> magic{};
    if (HF_TRY(file_size(file)) < magic.size()) return input_error("kernel file is too short to be one");
    HF_TRY(pread_exact(file, magic, 0));
    // Only a missing magic makes it a bzImage; an ELF with any other fault stays a faulty ELF.
    return magic == kElfMagic ? load_elf(loader, file, elf_entry) : load_bzimage(loader, file);
}

}  // namespace holdfast::boot
