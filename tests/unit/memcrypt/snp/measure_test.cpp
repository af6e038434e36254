// SPDX-License-Identifier: Apache-2.0
// SEV-SNP launch digests of other VMMs: firmware that lies about itself, and some of the public values of
// virtee/sev-snp-measure (all of them: tests/cli/measure_test.py).
#include "memcrypt/snp/measure.hpp"

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "memcrypt/snp/cpu_types.hpp"

namespace holdfast::memcrypt::snp {
namespace {

using Bytes = std::vector<std::byte>;

void put(Bytes& bytes, std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}
void put_guid(Bytes& bytes, std::uint32_t a, std::uint16_t b, std::uint16_t c, std::uint64_t d) {
    put(bytes, a, 4);
    put(bytes, b, 2);
    put(bytes, c, 2);
    put(bytes, __builtin_bswap64(d), 8);
}

struct RawSection {
    std::uint32_t gpa;
    std::uint32_t size;
    std::uint32_t type;
};

/// The last page of a firmware image, with what a test wants to be wrong in it.
struct Image {
    std::vector<RawSection> sections{{0x800000, 0x9000, 1}, {0x80a000, 0x3000, 1}, {0x80d000, 0x1000, 2},
                                     {0x80e000, 0x1000, 3}, {0x80f000, 0x1000, 4}, {0x810000, 0x1000, 0x10},
                                     {0x811000, 0xf000, 1}};
    std::uint32_t count = 7;
    std::uint32_t signature = 0x56455341;
    std::uint32_t hash_table = 0x810c00;
    std::uint32_t reset_eip = 0x80b004;
    std::uint16_t reset_size = 4 + 18;
    std::uint16_t table_size = 0;  ///< 0: the true one
    std::uint32_t metadata_at = 0x800;
    std::uint32_t footer = 0x96b582de;

    [[nodiscard]] Bytes bytes() const {
        Bytes table;
        put(table, hash_table, 4);
        put(table, 4 + 18, 2);
        put_guid(table, 0x7255371f, 0x3a3b, 0x4b04, 0x927b1da6efa8d454);
        put(table, reset_eip, 4);
        put(table, reset_size, 2);
        put_guid(table, 0x00f771de, 0x1a7e, 0x4fcb, 0x890e68c77e2fb44e);
        put(table, metadata_at, 4);
        put(table, 4 + 18, 2);
        put_guid(table, 0xdc886566, 0x984a, 0x4798, 0xa75e5585a7bf67cc);
        put(table, table_size != 0 ? table_size : table.size() + 18, 2);
        put_guid(table, footer, 0x1fb2, 0x45f7, 0xbaeaa366c55a082d);

        Bytes metadata;
        put(metadata, signature, 4);
        put(metadata, 16 + 12 * std::uint64_t{count}, 4);
        put(metadata, 1, 4);
        put(metadata, count, 4);
        for (const RawSection& section : sections) {
            put(metadata, section.gpa, 4);
            put(metadata, section.size, 4);
            put(metadata, section.type, 4);
        }
        Bytes page(kPageSize);
        std::memcpy(page.data() + page.size() - 32 - table.size(), table.data(), table.size());
        std::memcpy(page.data() + page.size() - 0x800, metadata.data(), metadata.size());
        return page;
    }
};

std::string error_of(const Image& image) {
    const auto parsed = parse_firmware(image.bytes());
    return parsed ? "accepted" : parsed.error().what;
}

TEST(SnpFirmware, MetadataAndTablesAreFound) {
    const auto firmware = parse_firmware(Image{}.bytes());
    ASSERT_TRUE(firmware.has_value()) << firmware.error().what;
    EXPECT_EQ(firmware->load, GuestAddr{0xfffff000});
    EXPECT_EQ(firmware->ap_entry, 0x80b004U);
    EXPECT_EQ(firmware->hash_table, 0x810c00U);
    ASSERT_EQ(firmware->sections.size(), 7U);
    EXPECT_EQ(firmware->sections[6].size, 0xf000U);
    EXPECT_EQ(firmware->sections[5].type, SectionType::KernelHashes);
}

TEST(SnpFirmware, ImagesThatAreNotWholePagesAreRefused) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4097}}) {
        EXPECT_FALSE(parse_firmware(Bytes(size)).has_value()) << size;
    }
}

TEST(SnpFirmware, TableThatLiesAboutItsSizeIsRefused) {
    EXPECT_EQ(error_of({.footer = 1}), "firmware image has no GUID table at its end");
    EXPECT_EQ(error_of({.table_size = 17}), "firmware's GUID table is larger than the image");
    EXPECT_EQ(error_of({.table_size = 4065}), "firmware's GUID table is larger than the image");
    EXPECT_EQ(error_of({.reset_size = 0}), "firmware's GUID table has an entry of an impossible size");
    EXPECT_EQ(error_of({.reset_size = 17}), "firmware's GUID table has an entry of an impossible size");
    EXPECT_EQ(error_of({.reset_size = 0xffff}), "firmware's GUID table has an entry of an impossible size");
    EXPECT_EQ(error_of({.reset_size = 18}), "firmware has a table entry that is too short");
}

TEST(SnpFirmware, MetadataOutsideTheImageIsRefused) {
    for (const std::uint32_t at : {0U, 15U, 4097U, 0xffffffffU}) {
        EXPECT_EQ(error_of({.metadata_at = at}), "firmware metadata lies outside the image") << at;
    }
    EXPECT_EQ(error_of({.signature = 0}), "firmware metadata has an unknown signature or version");
    EXPECT_EQ(error_of({.count = 257}), "firmware metadata has too many sections");
    EXPECT_EQ(error_of({.count = 0xffffffff}), "firmware metadata has too many sections");
    EXPECT_EQ(error_of({.count = 200}), "firmware metadata is shorter than its sections");
}

TEST(SnpFirmware, SectionsThatAreNotWholePagesOrTooLargeAreRefused) {
    const auto with = [](RawSection section) { return error_of({.sections = {section}, .count = 1}); };
    const std::string not_pages = "firmware has a metadata section that is not whole pages below 4 GiB";
    EXPECT_EQ(with({0x1001, 0x1000, 1}), not_pages);
    EXPECT_EQ(with({0x1000, 0x1001, 1}), not_pages);
    EXPECT_EQ(with({0x1000, 0, 1}), not_pages);
    EXPECT_EQ(with({0xfffff000, 0x2000, 1}), not_pages);
    EXPECT_EQ(with({0x1000, 0x1000, 7}), "firmware has a metadata section of an unknown type");
    EXPECT_EQ(with({0x1000, 0x2000, 2}),
              "firmware has a metadata section of more than one page where one is meant");
    EXPECT_EQ(with({0x1000, 0x80000000, 1}), "firmware wants more memory prepared than any firmware does");
}

class SnpLaunch : public testing::Test {
protected:
    Result<Digest384> digest(const Image& image, const Launch& launch) {
        const Bytes bytes = image.bytes();
        return launch_digest(bytes, parse_firmware(bytes).value(), launch);
    }
    static Digest384 digest_of_hex(std::string_view text) {
        Digest384 out;
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i] = static_cast<std::byte>(std::stoi(std::string{text.substr(2 * i, 2)}, nullptr, 16));
        return out;
    }
    static KernelHashes nothing(std::string_view cmdline) {
        Sha256 line;
        line.update(std::as_bytes(std::span{cmdline}));
        line.update(std::array{std::byte{0}});
        return {.cmdline = line.finish(), .initrd = Sha256{}.finish(), .kernel = Sha256{}.finish()};
    }
    // After the pages of the image that sev-snp-measure's own tests use.
    const Digest384 firmware = digest_of_hex(
        "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74");
};

TEST_F(SnpLaunch, PublicValuesHold) {
    EXPECT_EQ(
        hex(digest({}, {.cpu_signature = 0x800f12,
                        .kernel = nothing("console=ttyS0 loglevel=7"),
                        .firmware_digest = firmware})
                .value()),
        "6d287813eb5222d770f75005c664e34c204f385ce832cc2ce7d0d6f354454362f390ef83a92046c042e706363b4b08fa");
    EXPECT_EQ(
        hex(digest({}, {.cpu_signature = 0x800f12, .firmware_digest = firmware}).value()),
        "19358ba9a7615534a9a1e2f0dfc29384dcd4dcb7062ff9c6013b26869a5fc6ecabe033c48dd6f6db5d6d76e7c5df632d");
    EXPECT_EQ(
        hex(digest({}, {.vcpus = 4,
                        .cpu_signature = 0x800f12,
                        .guest_features = 0x21,
                        .kernel = nothing(""),
                        .firmware_digest = firmware})
                .value()),
        "4953b1fb416fa874980e8442b3706d345926d5f38879134e00813c5d7abcbe78eafe7b422907be0b4698e2414a631942");
    EXPECT_EQ(
        hex(digest({}, {.vmm = Vmm::Ec2, .kernel = nothing(""), .firmware_digest = firmware}).value()),
        "0883bd0eeb716e65b7b977a321c278d1e51b33b5c655fab985443bbcc65c086b9c15e8a0bd8811050dec7e24964e5056");
    EXPECT_EQ(
        hex(digest({}, {.vmm = Vmm::Gce, .vcpus = 4, .kernel = nothing(""), .firmware_digest = firmware})
                .value()),
        "5c5debf100fc339f90276e761ee1f1658d08922c3b20e2a2e6c7a6c3370b2452a15a00eae11886a93d6fd1e7ab81e29d");
}

TEST_F(SnpLaunch, KernelThatTheFirmwareCannotBindIsRefused) {
    const Image image{.sections = {{0x800000, 0x9000, 1}}, .count = 1};
    EXPECT_FALSE(digest(image, {.kernel = nothing("")}).has_value());
    EXPECT_FALSE(digest({.hash_table = 0x811000}, {.kernel = nothing("")}).has_value());
    EXPECT_FALSE(digest({.hash_table = 0x810fa0}, {.kernel = nothing("")}).has_value());
    EXPECT_TRUE(digest({.hash_table = 0x810f50}, {.kernel = nothing("")}).has_value());
}

TEST_F(SnpLaunch, SecondVcpuNeedsAnEntryPoint) {
    EXPECT_FALSE(digest({.reset_eip = 0}, {.vcpus = 2}).has_value());
    EXPECT_TRUE(digest({.reset_eip = 0}, {.vcpus = 1}).has_value());
}

TEST(SnpCpuTypes, NamesLeadToSignatures) {
    EXPECT_EQ(find_cpu_type("EPYC-v4"), 0x800f12U);
    EXPECT_EQ(find_cpu_type("EPYC-Milan"), 0xa00f11U);
    EXPECT_EQ(find_cpu_type("EPYC-Turin"), 0xb00f00U);
    EXPECT_FALSE(find_cpu_type("Pentium").has_value());
    EXPECT_EQ(cpu_signature(6, 15, 8), 0x6f8U);
}

}  // namespace
}  // namespace holdfast::memcrypt::snp
