// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/boot.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/console.hpp"

extern "C" {
extern const char image_start[];
extern const char image_end[];
extern holdfast::builtin::u64 pdpt[512];
}

namespace holdfast::builtin {
namespace {

struct StartInfo {
    u32 magic, version, flags, nr_modules;
    u64 modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
    u32 memmap_entries, reserved;
};
static_assert(sizeof(StartInfo) == 56);

struct MapEntry {
    u64 addr, size;
    u32 type, reserved;
};
static_assert(sizeof(MapEntry) == 24);

constexpr u32 kMagic = 0x336ec578;
constexpr u32 kRam = 1;
constexpr u64 kLow = 1 << 20;
constexpr u64 kReach = 512 * kGib;  // one page directory pointer table
constexpr u64 kTable = 0x27;        // accessed, user, writable, present
constexpr u64 kLargePage = 0xe7;    // and 2 MiB, dirty
constexpr u64 kLargePageSize = u64{2} << 20;

// Bounded copies: a loader's mistake shows as a message, not as a runaway.
std::array<Range, 32> ram;
std::size_t ram_count;
std::array<Range, 32> free_ranges;
std::size_t free_count;
std::array<Range, 32> taken_low;
std::size_t taken_low_count;
std::array<char, 2048> command_line;
std::size_t command_line_size;
u64 rsdp_address;

void add_ram(Range r) {
    if (ram_count == ram.size()) fail("memory map too long");
    ram[ram_count++] = r;
    const Range usable{std::max(r.start, kLow), std::min(r.end, kReach)};
    if (usable.start < usable.end) free_ranges[free_count++] = usable;
}

u64 page_up(u64 value) { return (value + kPage - 1) & ~(kPage - 1); }

std::optional<u64> parse(std::string_view text) {
    u64 base = 10;
    if (text.starts_with("0x")) {
        base = 16;
        text.remove_prefix(2);
    }
    u64 scale = 1;
    if (text.ends_with('K')) scale = u64{1} << 10;
    if (text.ends_with('M')) scale = u64{1} << 20;
    if (text.ends_with('G')) scale = u64{1} << 30;
    if (scale != 1) text.remove_suffix(1);
    if (text.empty()) return std::nullopt;
    u64 value = 0;
    for (const char c : text) {
        u64 digit = 99;
        if (c >= '0' && c <= '9') digit = static_cast<u64>(c - '0');
        if (c >= 'a' && c <= 'f') digit = static_cast<u64>(c - 'a' + 10);
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return std::nullopt;
        }
    }
    if (__builtin_mul_overflow(value, scale, &value)) return std::nullopt;
    return value;
}

}  // namespace

namespace boot {

void read_start_info(u64 start_info) {
    const auto info = load<StartInfo>(start_info);
    if (info.magic != kMagic) fail("no PVH start info at ", Hex{start_info});
    if (info.version < 1) fail("PVH start info has no memory map");
    for (u32 i = 0; i < info.memmap_entries; ++i) {
        const auto entry = load<MapEntry>(info.memmap_paddr + i * sizeof(MapEntry));
        if (entry.type == kRam && entry.size != 0) add_ram({entry.addr, entry.addr + entry.size});
    }
    const auto* text = pointer<const char>(info.cmdline_paddr);
    if (text != nullptr) {
        while (command_line_size < command_line.size() && text[command_line_size] != '\0') {
            command_line[command_line_size] = text[command_line_size];
            ++command_line_size;
        }
    }
    rsdp_address = info.rsdp_paddr;
    const u64 image = address_of(image_start);
    memory::reserve(image, address_of(image_end) - image);
    memory::reserve(start_info, sizeof info);
    memory::reserve(info.memmap_paddr, info.memmap_entries * sizeof(MapEntry));
    memory::reserve(info.cmdline_paddr, command_line_size + 1);
    acpi::tables();  // reserves more
    for (const Range& r : std::span{ram}.first(ram_count)) {
        if (!memory::map(r.start, r.size())) fail("more memory than page tables reach");
    }
}

u64 rsdp() { return rsdp_address; }

u64 total_memory() {
    u64 total = 0;
    for (const Range& r : std::span{ram}.first(ram_count)) total += r.size();
    return total;
}

u64 memory_end() {
    u64 end = 0;
    for (const Range& r : std::span{ram}.first(ram_count)) end = std::max(end, r.end);
    return end;
}

std::optional<std::string_view> option(std::string_view key) {
    std::string_view rest{command_line.data(), command_line_size};
    while (!rest.empty()) {
        const std::string_view word = rest.substr(0, rest.find(' '));
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        if (word.size() > key.size() && word.starts_with(key) && word[key.size()] == '=') {
            return word.substr(key.size() + 1);
        }
    }
    return std::nullopt;
}

std::string_view option(std::string_view key, std::string_view otherwise) {
    const auto value = option(key);
    return value ? *value : otherwise;
}

u64 number(std::string_view key, u64 otherwise) {
    const auto text = option(key);
    if (!text) return otherwise;
    const auto value = parse(*text);
    if (!value) fail("option ", key, " is not a number: ", *text);
    return *value;
}

}  // namespace boot

namespace memory {

void reserve(u64 start, u64 size) {
    const Range hole{start & ~(kPage - 1), page_up(start + size)};
    if (size == 0) return;
    if (hole.start < kLow && taken_low_count < taken_low.size()) taken_low[taken_low_count++] = hole;
    for (std::size_t i = 0; i < free_count; ++i) {
        Range& r = free_ranges[i];
        if (hole.end <= r.start || hole.start >= r.end) continue;
        const Range after{hole.end, r.end};
        r.end = std::max(hole.start, r.start);
        if (after.start < after.end && free_count < free_ranges.size()) {
            free_ranges[free_count++] = after;
        }
    }
}

bool map(u64 start, u64 size) {
    if (start >= kReach || size > kReach - start) return false;
    for (u64 gib = start / kGib; gib * kGib < start + size; ++gib) {
        if (pdpt[gib] != 0) continue;
        const u64 directory = take(kPage);
        for (u64 i = 0; i < 512; ++i) {
            pointer<u64>(directory)[i] = gib * kGib + i * kLargePageSize + kLargePage;
        }
        __atomic_store_n(&pdpt[gib], directory + kTable, __ATOMIC_RELEASE);
    }
    return true;
}

u64 free_bytes() {
    u64 total = 0;
    for (const Range& r : std::span{free_ranges}.first(free_count)) total += r.size();
    return total;
}

u64 take(u64 bytes) {
    for (Range& r : std::span{free_ranges}.first(free_count)) {
        const u64 start = page_up(r.start);
        const bool is_mapped = pdpt[start / kGib] != 0;  // not yet, where map() itself takes a page
        if (is_mapped && start < r.end && r.end - start >= bytes) {
            r.start = page_up(start + bytes);
            if (r.start > r.end) r.start = r.end;
            return start;
        }
    }
    fail("no ", bytes, " bytes of free memory");
}

Range take_all() {
    if (free_count == 0) fail("no free memory");
    Range& largest = *std::max_element(free_ranges.begin(), free_ranges.begin() + free_count,
                                       [](const Range& a, const Range& b) { return a.size() < b.size(); });
    const Range whole{page_up(largest.start), largest.end & ~(kPage - 1)};
    largest.start = largest.end;
    return whole;
}

u64 low_page() {
    const auto is_ram = [](u64 page) {
        return std::ranges::any_of(std::span{ram}.first(ram_count), [page](const Range& r) {
            return r.start <= page && page + kPage <= r.end;
        });
    };
    const auto is_taken = [](u64 page) {
        return std::ranges::any_of(std::span{taken_low}.first(taken_low_count),
                                   [page](const Range& r) { return page < r.end && r.start < page + kPage; });
    };
    for (u64 page = kPage; page < 0xa0000; page += kPage) {
        if (is_ram(page) && !is_taken(page)) return page;
    }
    fail("no free page below 1 MiB");
}

}  // namespace memory
}  // namespace holdfast::builtin
