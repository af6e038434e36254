// SPDX-License-Identifier: Apache-2.0
// ELF-64 (System V ABI, x86-64) executables that carry the PVH entry note of the Xen ABI
// (XEN_ELFNOTE_PHYS32_ENTRY). Segments are loaded at their physical addresses.
#include <algorithm>
#include <cstring>
#include <optional>

#include "sys/wire/endian.hpp"
#include "vmm/boot/kernel.hpp"
#include "vmm/boot/layout.hpp"

namespace holdfast::boot {
namespace {

namespace wire {
struct ElfHeader {
    std::array<std::byte, 16> ident;
    Le<std::uint16_t> type;
    Le<std::uint16_t> machine;  // 18
    Le<std::uint32_t> version;
    Le<std::uint64_t> entry;  // 24
    Le<std::uint64_t> phoff;  // 32
    Le<std::uint64_t> shoff;
    Le<std::uint32_t> flags;
    Le<std::uint16_t> ehsize;
    Le<std::uint16_t> phentsize;  // 54
    Le<std::uint16_t> phnum;
    Le<std::uint16_t> shentsize;
    Le<std::uint16_t> shnum;
    Le<std::uint16_t> shstrndx;
};
static_assert(sizeof(ElfHeader) == 64 && offsetof(ElfHeader, phentsize) == 54);

struct ProgramHeader {
    Le<std::uint32_t> type;
    Le<std::uint32_t> flags;
    Le<std::uint64_t> offset;  // 8
    Le<std::uint64_t> vaddr;
    Le<std::uint64_t> paddr;  // 24
    Le<std::uint64_t> filesz;
    Le<std::uint64_t> memsz;
    Le<std::uint64_t> align;
};
static_assert(sizeof(ProgramHeader) == 56 && offsetof(ProgramHeader, paddr) == 24);

struct NoteHeader {
    Le<std::uint32_t> namesz;
    Le<std::uint32_t> descsz;
    Le<std::uint32_t> type;
};
static_assert(sizeof(NoteHeader) == 12);
}  // namespace wire

constexpr std::byte kClass64{2};
constexpr std::byte kLittleEndian{1};
constexpr std::uint16_t kExecutable = 2;
constexpr std::uint16_t kSharedObject = 3;  // a relocatable kernel may be linked so
constexpr std::uint16_t kX86_64 = 62;
constexpr std::uint32_t PT_LOAD = 1;
constexpr std::uint32_t PT_NOTE = 4;
constexpr std::uint32_t XEN_ELFNOTE_PHYS32_ENTRY = 18;
constexpr std::size_t kMaxSegments = 64;
constexpr std::uint64_t kMaxNotes = 64 * 1024;

template <typename T>
Result<T> read_struct(const UniqueFd& file, std::uint64_t offset) {
    T value;
    HF_TRY(pread_exact(file, std::as_writable_bytes(std::span{&value, 1}), offset));
    return value;
}

Result<wire::ElfHeader> read_header(const UniqueFd& file) {
    const auto header = HF_TRY(read_struct<wire::ElfHeader>(file, 0));
    if (header.ident[4] != kClass64 || header.ident[5] != kLittleEndian || header.machine.get() != kX86_64) {
        return input_error("kernel is an ELF, but not a 64-bit x86 one");
    }
    if (header.type.get() != kExecutable && header.type.get() != kSharedObject) {
        return input_error("kernel is an ELF, but not an executable");
    }
    if (header.phentsize.get() != sizeof(wire::ProgramHeader) || header.phnum.get() == 0 ||
        header.phnum.get() > kMaxSegments) {
        return input_error("kernel ELF has a bad program header table");
    }
    return header;
}

struct Extent {
    std::uint64_t start;
    std::uint64_t end;
};

/// Loads one PT_LOAD segment and says where it went. The rest of its memory is zero already: RAM is new.
Result<Extent> load_segment(Loader& loader, const UniqueFd& file, const wire::ProgramHeader& segment,
                            std::span<const Extent> placed) {
    const std::uint64_t start = segment.paddr.get();
    const std::uint64_t size = segment.memsz.get();
    if (segment.filesz.get() > size)
        return input_error("kernel ELF segment is larger in the file than in memory");
    const std::uint64_t limit = low_ram_end(loader.memory());
    if (start < kHighMemory.value()) return input_error("kernel ELF segment lies below 1 MiB");
    if (start > limit || size > limit - start)
        return input_error("kernel ELF segment lies outside guest RAM");
    const Extent extent{start, start + size};
    for (const Extent& other : placed) {
        if (extent.start < other.end && other.start < extent.end) {
            return input_error("kernel ELF segments overlap");
        }
    }
    HF_TRY(loader.load(GuestAddr{start}, file, segment.offset.get(), segment.filesz.get()));
    return extent;
}

constexpr std::uint64_t align4(std::uint64_t size) { return (size + 3) & ~std::uint64_t{3}; }

/// The PVH entry among the notes of one PT_NOTE segment.
Result<std::optional<std::uint32_t>> find_pvh_note(const UniqueFd& file, const wire::ProgramHeader& segment) {
    const std::uint64_t size = std::min(segment.filesz.get(), kMaxNotes);
    std::vector<std::byte> notes(size);
    HF_TRY(pread_exact(file, notes, segment.offset.get()));
    constexpr std::array kXen{std::byte{'X'}, std::byte{'e'}, std::byte{'n'}, std::byte{0}};
    std::uint64_t at = 0;
    // Every turn moves on by at least one note header, so at most kMaxNotes / 12 turns.
    while (size - at >= sizeof(wire::NoteHeader)) {
        wire::NoteHeader note;
        std::memcpy(&note, notes.data() + at, sizeof note);
        const std::uint64_t name = at + sizeof note;
        const std::uint64_t desc = name + align4(note.namesz.get());
        const std::uint64_t next = desc + align4(note.descsz.get());
        if (next > size) break;
        if (note.type.get() == XEN_ELFNOTE_PHYS32_ENTRY && note.namesz.get() == kXen.size() &&
            note.descsz.get() >= 4 && std::ranges::equal(std::span{notes}.subspan(name, kXen.size()), kXen)) {
            Le<std::uint32_t> entry;
            std::memcpy(&entry, notes.data() + desc, sizeof entry);
            return std::optional{entry.get()};
        }
        at = next;
    }
    return std::optional<std::uint32_t>{};
}

}  // namespace

Result<Kernel> load_elf(Loader& loader, const UniqueFd& file, ElfEntry elf_entry) {
    const wire::ElfHeader header = HF_TRY(read_header(file));
    std::vector<Extent> placed;
    std::optional<std::uint32_t> pvh;
    for (std::uint64_t i = 0; i < header.phnum.get(); ++i) {
        const GuestAddr at = HF_TRY(GuestAddr{header.phoff.get()}.plus(i * sizeof(wire::ProgramHeader)));
        const auto segment = HF_TRY(read_struct<wire::ProgramHeader>(file, at.value()));
        if (segment.type.get() == PT_LOAD && segment.memsz.get() != 0) {
            placed.push_back(HF_TRY(load_segment(loader, file, segment, placed)));
        } else if (segment.type.get() == PT_NOTE && !pvh) {
            pvh = HF_TRY(find_pvh_note(file, segment));
        }
    }
    if (placed.empty()) return input_error("kernel ELF has nothing to load");
    if (elf_entry == ElfEntry::Pvh && !pvh) {
        return input_error("kernel ELF has no PVH entry note (built without CONFIG_PVH?)");
    }
    Kernel kernel;
    if (elf_entry == ElfEntry::Flat) {
        kernel.mode = kvm::EntryState::Mode::Long64;
        kernel.entry = GuestAddr{header.entry.get()};
    } else {
        kernel.entry = GuestAddr{*pvh};
    }
    const std::uint64_t entry = kernel.entry.value();
    if (std::ranges::none_of(placed,
                             [entry](const Extent& e) { return e.start <= entry && entry < e.end; })) {
        return input_error("kernel ELF's entry point lies outside its segments");
    }
    kernel.end = GuestAddr{std::ranges::max(placed, {}, &Extent::end).end};
    return kernel;
}

}  // namespace holdfast::boot
