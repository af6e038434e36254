// SPDX-License-Identifier: Apache-2.0
#include "sys/program_pages.hpp"

#include <cstdint>

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace holdfast {

void drop_program_pages() noexcept {
    const auto drop = [](dl_phdr_info* object, std::size_t, void*) {
        const auto page = static_cast<std::uintptr_t>(::getpagesize());
        for (int i = 0; i < object->dlpi_phnum; ++i) {
            const auto& segment = object->dlpi_phdr[i];
            // What is written to, relocations too, is in segments of its own.
            if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
            const std::uintptr_t start = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
            const std::uintptr_t end = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
            // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are numbers in program headers
            ::madvise(reinterpret_cast<void*>(start), end - start, MADV_DONTNEED);
        }
        return 0;
    };
    ::dl_iterate_phdr(drop, nullptr);
}

}  // namespace holdfast
