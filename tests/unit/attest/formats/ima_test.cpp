// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/ima/list.hpp"

#include <gtest/gtest.h>

#include "attest/formats/ima/entry.hpp"
#include "tests/unit/attest/logs.hpp"

namespace holdfast::attest::ima {
namespace {

using Buffer = std::vector<std::byte>;

Buffer bytes(std::string_view text) {
    const auto span = std::as_bytes(std::span{text});
    return {span.begin(), span.end()};
}

const Digest kFile = hash(HashAlg::Sha256, {});

// A line of a real list (Linux 5.4), whose template hash the kernel made.
constexpr std::string_view kRealLine =
    "10 5426cf3031a43f5bfca183d79950698a95a728f6 ima-sig "
    "sha256:f1125b940480d20ad841d26d5ea253edc0704b5ec1548c891edf212cb1a9365e "
    "/lib/modules/5.4.48-openpower1/kernel/drivers/usb/common/usb-common.ko";

std::string field(std::string_view content) {
    std::string text;
    for (unsigned i = 0; i < 4; ++i) text += static_cast<char>(content.size() >> (8 * i));
    return text + std::string{content};
}

std::string raw(std::span<const std::byte> digest) {
    std::string text;
    for (const std::byte byte : digest) text += static_cast<char>(byte);
    return text;
}

std::string signed_data(std::string_view path, std::string_view signature) {
    return field("sha256:" + std::string(1, '\0') + raw(kFile.bytes())) +
           field(std::string{path} + std::string(1, '\0')) + field(signature);
}

Digest sha1(std::string_view data) { return hash(HashAlg::Sha1, std::as_bytes(std::span{data})); }

TEST(ImaList, RealLineOfAKernelHasTheHashThatWeCompute) {
    const auto entry = read_line(kRealLine);
    ASSERT_TRUE(entry) << entry.error().what;
    EXPECT_TRUE(has_right_hash(*entry));
    std::string other{kRealLine};
    other.back() = 'x';
    EXPECT_FALSE(has_right_hash(*read_line(other)));
}

TEST(ImaList, PathsWithBlanksAndSignaturesAreToldApart) {
    for (const std::string_view path : {"/a b c", "/a 00", "/a"}) {
        for (const std::string_view signature : {"", "\x03\x02sig"}) {
            const std::string text = "10 " + hex(sha1(signed_data(path, signature)).bytes()) +
                                     " ima-sig sha256:" + hex(kFile.bytes()) + " " + std::string{path} + " " +
                                     hex(std::as_bytes(std::span{signature}));
            const auto entry = read_line(text);
            ASSERT_TRUE(entry);
            EXPECT_TRUE(has_right_hash(*entry)) << text;
            EXPECT_EQ(entry->path, path);
        }
    }
}

TEST(ImaList, BinaryFormReplaysAsTheTextDoes) {
    std::string text;
    std::string binary;
    for (const std::string_view path : {"boot_aggregate", "/bin/true"}) {
        const std::string data = signed_data(path, "signature");
        const Digest digest = sha1(data);
        text += "10 " + hex(digest.bytes()) + " ima-sig sha256:" + hex(kFile.bytes()) + " " +
                std::string{path} + " " + hex(std::as_bytes(std::span{std::string_view{"signature"}})) + "\n";
        binary += std::string{"\x0a\0\0\0", 4} + raw(digest.bytes()) + field("ima-sig") + field(data);
    }
    const Buffer text_bytes = bytes(text);
    const Buffer binary_bytes = bytes(binary);
    Findings findings;
    const auto from_text = parse_list(text_bytes, findings);
    const auto from_binary = parse_list(binary_bytes, findings);
    ASSERT_TRUE(from_text && from_binary);
    EXPECT_TRUE((*from_binary)->binary);
    EXPECT_EQ(replay(*from_text, HashAlg::Sha256), replay(*from_binary, HashAlg::Sha256));
    for (std::size_t size = 1; size < binary_bytes.size(); ++size) {
        Findings cut;
        const auto list = parse_list(std::span{binary_bytes}.first(size), cut);
        EXPECT_TRUE(!list || (*list)->count < 2) << size;
    }
}

TEST(ImaList, ThatGrewSinceTheQuoteIsCoveredAsFarAsTheQuoteGoes) {
    const std::string first = test::ima_line("boot_aggregate", kFile.bytes());
    const Buffer quoted = bytes(first);
    const Buffer grown = bytes(first + test::ima_line("/late", kFile.bytes()));
    Findings findings;
    const Digest pcr10 = replay(*parse_list(quoted, findings), HashAlg::Sha256);
    const auto covered = bind_list(*parse_list(grown, findings), pcr10, findings);
    ASSERT_TRUE(covered);
    EXPECT_EQ((*covered)->entries, 1U);
}

TEST(ImaList, OfAnotherTemplateOrWithoutItsFieldsIsRefused) {
    for (const std::string_view line :
         {"10", "10 00", "10 0011 ima-ng sha256:00 /a", "x 00 ima-ng sha256:00 /a",
          "10 5426cf3031a43f5bfca183d79950698a95a728f6 ima 00 /a",
          "10 5426cf3031a43f5bfca183d79950698a95a728f6 ima-ng 00 /a",
          "10 5426cf3031a43f5bfca183d79950698a95a728f6 ima-ng sha256:0 /a",
          "4294967296 5426cf3031a43f5bfca183d79950698a95a728f6 ima-ng sha256:00 /a"}) {
        EXPECT_FALSE(read_line(line)) << line;
    }
}

TEST(ImaList, EntryLongerThanAnyIsRefused) {
    const std::string line = test::ima_line(std::string(kMaxEntry, 'a'), kFile.bytes());
    EXPECT_FALSE(read_line(line));
    const Buffer binary = bytes(std::string{"\x0a\0\0\0", 4} + std::string(20, 'x') + "\xff\xff\xff\x7f");
    Findings findings;
    EXPECT_FALSE(parse_list(binary, findings));
}

}  // namespace
}  // namespace holdfast::attest::ima
