// SPDX-License-Identifier: Apache-2.0
// Loading kernels: bzImage by the 64-bit Linux boot protocol, ELF by its PVH note, and our own
// built-in guest by its ELF entry. Files are hostile input: every field is copied once and judged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "sys/fd.hpp"
#include "vmm/boot/loader.hpp"
#include "vmm/kvm/entry.hpp"

namespace holdfast::boot {

/// What a loader put into guest memory.
struct Kernel {
    kvm::EntryState::Mode mode = kvm::EntryState::Mode::Protected32;
    GuestAddr entry;
    GuestAddr end;  ///< nothing else may be placed below, from kHighMemory on
    /// bzImage only: the setup header, as it came (Linux boot protocol: never a hand-made one), and
    /// the highest address its initrd may end at.
    std::vector<std::byte> setup_header;
    std::uint64_t initrd_limit = ~std::uint64_t{0};
    std::uint64_t cmdline_limit = ~std::uint64_t{0};
};

enum class ElfEntry : std::uint8_t { Pvh, Flat };

/// Tells formats apart by content and loads. Errors are Input errors that name what is wrong.
Result<Kernel> load_kernel(Loader& loader, const UniqueFd& file, ElfEntry elf_entry);

Result<Kernel> load_elf(Loader& loader, const UniqueFd& file, ElfEntry elf_entry);
Result<Kernel> load_bzimage(Loader& loader, const UniqueFd& file);

/// End of RAM below the device hole: kernels, initrds and everything else we load lie under it.
[[nodiscard]] std::uint64_t low_ram_end(const memcrypt::GuestMemory& memory) noexcept;

}  // namespace holdfast::boot
