// SPDX-License-Identifier: Apache-2.0
// Kernel files: bzImage and ELF, by both ELF entries. Whatever the bytes, the answer is an error or a
// kernel that lies inside guest RAM.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <unistd.h>

#include "vmm/boot/kernel.hpp"
#include "vmm/boot/layout.hpp"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto memory = memcrypt::GuestMemory::create_plain(boot::ram_ranges(64ULL << 20)).value();
    const UniqueFd file = sealed_memfd("kernel", size).value();
    if (::pwrite(file.get(), data, size, 0) != static_cast<ssize_t>(size)) return 0;
    for (const auto entry : {boot::ElfEntry::Pvh, boot::ElfEntry::Flat}) {
        boot::Loader loader{memory};
        const auto kernel = boot::load_kernel(loader, file, entry);
        if (!kernel) continue;
        const bool inside = kernel->entry >= boot::kHighMemory && kernel->entry < kernel->end &&
                            kernel->end.value() <= boot::low_ram_end(memory);
        if (!inside) std::abort();
    }
    return 0;
}
