// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/snp/ovmf.hpp"

#include <cstring>

#include "memcrypt/snp/guid.hpp"

namespace holdfast::memcrypt::snp {
namespace {

constexpr std::uint64_t kFourGiB = 1ULL << 32;
constexpr std::size_t kResetVectorSize = 32;  // the code behind the table

constexpr Guid kFooter{0x96b582de, 0x1fb2, 0x45f7, {0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d}};
constexpr Guid kHashTable{0x7255371f, 0x3a3b, 0x4b04, {0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54}};
constexpr Guid kResetBlock{0x00f771de, 0x1a7e, 0x4fcb, {0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e}};
constexpr Guid kMetadata{0xdc886566, 0x984a, 0x4798, {0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc}};

namespace wire {
/// Behind each entry's data, the table being read from its end.
struct EntryTail {
    Le<std::uint16_t> size;  ///< of data and tail
    Guid guid;
};
static_assert(sizeof(EntryTail) == 18);

struct MetadataHeader {
    Le<std::uint32_t> signature;
    Le<std::uint32_t> size;  ///< of header and sections
    Le<std::uint32_t> version;
    Le<std::uint32_t> sections;
};
static_assert(sizeof(MetadataHeader) == 16);

struct MetadataSection {
    Le<std::uint32_t> gpa;
    Le<std::uint32_t> size;
    Le<std::uint32_t> type;
};
static_assert(sizeof(MetadataSection) == 12);
}  // namespace wire

constexpr std::uint32_t kMetadataSignature = 0x56455341;  // "ASEV"

/// The caller has checked that it lies inside.
template <typename T>
T copy_at(std::span<const std::byte> bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
    return value;
}

Result<SectionType> decode_type(std::uint32_t raw) {
    switch (raw) {
        case 1: return SectionType::SecMem;
        case 2: return SectionType::Secrets;
        case 3: return SectionType::Cpuid;
        case 4: return SectionType::SvsmCaa;
        case 0x10: return SectionType::KernelHashes;
        default: return input_error("firmware has a metadata section of an unknown type");
    }
}

Result<Section> decode_section(const wire::MetadataSection& raw) {
    const Section section{.start = GuestAddr{raw.gpa.get()},
                          .size = raw.size.get(),
                          .type = HF_TRY(decode_type(raw.type.get()))};
    if (section.size == 0 || section.size % kPageSize != 0 || section.start.value() % kPageSize != 0 ||
        section.start.value() + section.size > kFourGiB) {
        return input_error("firmware has a metadata section that is not whole pages below 4 GiB");
    }
    // Those have one page each in every specification; the chain would say nothing about a second.
    const bool single = section.type == SectionType::Secrets || section.type == SectionType::Cpuid ||
                        section.type == SectionType::KernelHashes;
    if (single && section.size != kPageSize)
        return input_error("firmware has a metadata section of more than one page where one is meant");
    return section;
}

Result<std::vector<Section>> read_metadata(std::span<const std::byte> image, std::uint32_t from_end) {
    if (from_end > image.size() || from_end < sizeof(wire::MetadataHeader))
        return input_error("firmware metadata lies outside the image");
    const auto all = image.last(from_end);
    const auto header = copy_at<wire::MetadataHeader>(all, 0);
    if (header.signature.get() != kMetadataSignature || header.version.get() != 1)
        return input_error("firmware metadata has an unknown signature or version");
    const std::size_t count = header.sections.get();
    if (count > kMaxSections) return input_error("firmware metadata has too many sections");
    const std::size_t needs = sizeof header + count * sizeof(wire::MetadataSection);
    if (needs > all.size() || header.size.get() < needs)
        return input_error("firmware metadata is shorter than its sections");
    std::vector<Section> sections;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const auto raw =
            copy_at<wire::MetadataSection>(all, sizeof header + i * sizeof(wire::MetadataSection));
        sections.push_back(HF_TRY(decode_section(raw)));
        total += sections.back().size;
    }
    if (total > kMaxPrepared)
        return input_error("firmware wants more memory prepared than any firmware does");
    return sections;
}

/// Every entry that we know starts with one 32-bit number.
Result<std::uint32_t> number_of(std::span<const std::byte> data) {
    if (data.size() < sizeof(std::uint32_t))
        return input_error("firmware has a table entry that is too short");
    return copy_at<Le<std::uint32_t>>(data, 0).get();
}

Result<void> take_entry(std::span<const std::byte> image, const Guid& guid, std::span<const std::byte> data,
                        Firmware& firmware) {
    if (guid == kHashTable) firmware.hash_table = HF_TRY(number_of(data));
    if (guid == kResetBlock) firmware.ap_entry = HF_TRY(number_of(data));
    if (guid == kMetadata) {
        const std::uint32_t from_end = HF_TRY(number_of(data));
        firmware.sections = HF_TRY(read_metadata(image, from_end));
    }
    return {};
}

}  // namespace

Result<Firmware> parse_firmware(std::span<const std::byte> image) {
    if (image.empty() || image.size() % kPageSize != 0 || image.size() > kMaxFirmware)
        return input_error("firmware image is not whole pages, or larger than 64 MiB");
    const auto body = image.first(image.size() - kResetVectorSize);
    const auto footer = copy_at<wire::EntryTail>(body, body.size() - sizeof(wire::EntryTail));
    if (footer.guid != kFooter) return input_error("firmware image has no GUID table at its end");
    const std::size_t table_size = footer.size.get();
    if (table_size < sizeof footer || table_size > body.size())
        return input_error("firmware's GUID table is larger than the image");
    auto table = body.last(table_size).first(table_size - sizeof footer);

    Firmware firmware{.load = GuestAddr{kFourGiB - image.size()}, .sections = {}};
    // Every turn takes at least one tail off, so at most 65535 / 18 turns.
    while (table.size() >= sizeof(wire::EntryTail)) {
        const auto tail = copy_at<wire::EntryTail>(table, table.size() - sizeof(wire::EntryTail));
        const std::size_t size = tail.size.get();
        if (size < sizeof tail || size > table.size())
            return input_error("firmware's GUID table has an entry of an impossible size");
        HF_TRY(take_entry(image, tail.guid, table.last(size).first(size - sizeof tail), firmware));
        table = table.first(table.size() - size);
    }
    if (firmware.sections.empty())
        return input_error("firmware image has no SEV metadata: it was not built for SEV-SNP");
    return firmware;
}

}  // namespace holdfast::memcrypt::snp
