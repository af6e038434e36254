// SPDX-License-Identifier: Apache-2.0
// What the loader left behind: Xen's hvm_start_info version 1 (xen/include/public/arch-x86/hvm/
// start_info.h), the memory map, and the command line cut into key=value words.
#pragma once

#include <optional>
#include <string_view>

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin {

struct Range {
    u64 start, end;
    [[nodiscard]] u64 size() const { return end - start; }
};

namespace boot {
/// Takes what the machine says about itself; to be called once, first.
void read_start_info(u64 start_info);
[[nodiscard]] u64 rsdp();
[[nodiscard]] u64 total_memory();
/// End of the highest RAM range.
[[nodiscard]] u64 memory_end();
/// Value of the first word `key=…` of the command line.
[[nodiscard]] std::optional<std::string_view> option(std::string_view key);
[[nodiscard]] std::string_view option(std::string_view key, std::string_view otherwise);
/// As a number: decimal or 0x…, with K, M or G. Anything else fails the job.
[[nodiscard]] u64 number(std::string_view key, u64 otherwise);
}  // namespace boot

/// RAM nobody uses: no image, no loader's structures, no ACPI tables, nothing below 1 MiB.
namespace memory {
/// Keeps a range out of what is handed out. Only before the first page is taken.
void reserve(u64 start, u64 size);
/// Makes addresses above the first 4 GiB usable; false where they are out of reach (512 GiB).
[[nodiscard]] bool map(u64 start, u64 size);
[[nodiscard]] u64 free_bytes();
/// Contiguous, page-aligned, not cleared. Fails the job if there is no such range.
[[nodiscard]] u64 take(u64 bytes);
/// All of the largest free range.
[[nodiscard]] Range take_all();
/// An unused page below 1 MiB, for the other processors' first instructions.
[[nodiscard]] u64 low_page();
}  // namespace memory

}  // namespace holdfast::builtin
