// SPDX-License-Identifier: Apache-2.0
// Every suite and implementation against what the pager relies on, and AES-256-GCM against OpenSSL's.
#include "memcrypt/cipher/page_cipher.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "aegis_reference.hpp"
#include "flags.hpp"
#include "memcrypt/cipher/suites.hpp"
#include "sys/fd.hpp"

namespace holdfast::memcrypt {
namespace {

using Page = std::array<std::byte, kPageSize>;

constexpr VmId kVm{std::byte{0xab}, std::byte{0x01}, std::byte{0x02}};
constexpr PageIdentity kIdentity{.region = 2, .page = 0x01020304, .version = 0x1112131415161718};

Page random_page() {
    static std::mt19937 random{7};
    Page page{};
    std::ranges::generate(page, [&] { return static_cast<std::byte>(random()); });
    return page;
}
bool is_zero(std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}
void flip(std::span<std::byte> bytes, std::size_t bit) { bytes[bit / 8] ^= std::byte{1} << (bit % 8); }
SecretKey random_key() {
    auto key = SecretKey::random();
    check(key.has_value(), "locked memory for a key");
    return std::move(*key);
}

struct Case {
    const char* name;
    Suite suite;
    Width width;
    bool CpuFeatures::* needs;
};

// Numbers of vector registers, for the assembler's repetition.
#define HF_0_TO_15 "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define HF_16_TO_31 "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

class PageCipherTest : public ::testing::TestWithParam<Case> {
protected:
    void SetUp() override {
        if (!(this_cpu().*GetParam().needs)) GTEST_SKIP() << skip_without(GetParam().needs);
        cipher = make(kVm);
        sealed = plain;
        cipher->seal(kIdentity, sealed, tag);
    }
    [[nodiscard]] std::unique_ptr<PageCipher> make(const VmId& vm) const {
        auto made = GetParam().suite == Suite::Aegis256x2 ? make_aegis256x2(GetParam().width, key, vm)
                                                          : make_aes256gcm(GetParam().width, key, vm);
        check(made.has_value(), "locked memory for a cipher");
        return std::move(*made);
    }
    /// Whether opening is refused and leaves nothing of the page.
    static bool refuses(PageCipher& with, const PageIdentity& identity, const Page& from, const Tag& given) {
        Page out;
        out.fill(std::byte{0xaa});
        return !with.open(identity, from, out, given) && is_zero(out);
    }
    SecretKey key = random_key();
    std::unique_ptr<PageCipher> cipher;
    const Page plain = random_page();
    Page sealed{};
    Tag tag{};
};

TEST_P(PageCipherTest, OpensWhatItSealedInPlace) {
    EXPECT_NE(sealed, plain);
    Page out;
    out.fill(std::byte{0xaa});
    EXPECT_TRUE(cipher->open(kIdentity, sealed, out, tag));
    EXPECT_EQ(out, plain);
}

TEST_P(PageCipherTest, RefusesEachFlippedBitOfThePage) {
    for (std::size_t bit = 0; bit < kPageSize * 8; ++bit) {
        flip(sealed, bit);
        ASSERT_TRUE(refuses(*cipher, kIdentity, sealed, tag)) << bit;
        flip(sealed, bit);
    }
}

TEST_P(PageCipherTest, RefusesEachFlippedBitOfTheTag) {
    for (std::size_t bit = 0; bit < sizeof(Tag) * 8; ++bit) {
        flip(tag, bit);
        ASSERT_TRUE(refuses(*cipher, kIdentity, sealed, tag)) << bit;
        flip(tag, bit);
    }
}

TEST_P(PageCipherTest, RefusesEachOtherPageRegionAndVersion) {
    for (unsigned bit = 0; bit < 64; ++bit) {
        PageIdentity other = kIdentity;
        other.version ^= 1ULL << bit;
        ASSERT_TRUE(refuses(*cipher, other, sealed, tag)) << bit;
        if (bit >= 32) continue;
        other = kIdentity;
        other.page ^= 1U << bit;
        ASSERT_TRUE(refuses(*cipher, other, sealed, tag)) << bit;
        other = kIdentity;
        other.region ^= 1U << bit;
        ASSERT_TRUE(refuses(*cipher, other, sealed, tag)) << bit;
    }
}

TEST_P(PageCipherTest, RefusesThePageOfAnotherVm) {
    EXPECT_FALSE(refuses(*make(kVm), kIdentity, sealed, tag));
    for (std::size_t bit = 0; bit < sizeof(VmId) * 8; ++bit) {
        VmId other = kVm;
        flip(other, bit);
        ASSERT_TRUE(refuses(*make(other), kIdentity, sealed, tag)) << bit;
    }
}

TEST_P(PageCipherTest, AnotherKeyOpensNothingOfTheOldOne) {
    ASSERT_TRUE(key.renew());
    cipher->set_key(key);
    EXPECT_TRUE(refuses(*cipher, kIdentity, sealed, tag));
    cipher->seal(kIdentity, sealed, tag);
    EXPECT_FALSE(refuses(*cipher, kIdentity, sealed, tag));
}

TEST_P(PageCipherTest, EqualPagesNeverLookEqual) {
    // Zeros, whose ciphertext is the key stream itself: no block of it may come twice, in any page or
    // version.
    std::vector<std::array<std::byte, 16>> blocks;
    const auto seal_zeros = [&](const PageIdentity& identity) {
        Page page{};
        cipher->seal(identity, page, tag);
        for (std::size_t at = 0; at < page.size(); at += 16)
            std::copy_n(page.begin() + static_cast<std::ptrdiff_t>(at), 16, blocks.emplace_back().begin());
    };
    for (std::uint64_t version = 1; version <= 64; ++version)
        seal_zeros({.region = 0, .page = 9, .version = version});
    for (std::uint32_t page = 0; page < 9; ++page) seal_zeros({.region = 0, .page = page, .version = 1});
    std::ranges::sort(blocks);
    EXPECT_EQ(std::ranges::adjacent_find(blocks), blocks.end());
}

// Another process with the memory file writes while we read: what is accepted is what was sealed.
TEST_P(PageCipherTest, PageThatChangesWhileItIsOpenedIsNeverAcceptedChanged) {
    const auto file = sealed_memfd("page", kPageSize);
    ASSERT_TRUE(file);
    const auto ours = Mapping::shared(*file, kPageSize);
    const auto theirs = Mapping::shared(*file, kPageSize);
    ASSERT_TRUE(ours && theirs);
    std::ranges::copy(sealed, ours->bytes().begin());
    std::atomic<bool> done = false;
    std::thread writer{[&] {
        for (std::size_t bit = 0; !done; bit = (bit + 4093) % (kPageSize * 8)) {
            std::atomic_ref byte{theirs->bytes()[bit / 8]};
            const std::byte was = byte.load();
            byte.store(was ^ std::byte{1} << (bit % 8));
            byte.store(was);
        }
    }};
    // Long enough for the two to meet, on processors that have other things to do as well.
    int accepted = 0;
    int refused = 0;
    for (int i = 0; i < 60'000 && (accepted < 5'000 || refused < 5'000); ++i) {
        Page out;
        const bool genuine = cipher->open(kIdentity, ours->bytes().first<kPageSize>(), out, tag);
        ++(genuine ? accepted : refused);
        if (genuine) {
            EXPECT_EQ(out, plain);
        }
    }
    done = true;
    writer.join();
}

TEST_P(PageCipherTest, LeavesNothingInVectorRegisters) {
    alignas(64) std::array<std::byte, 32 * 64> registers;
    registers.fill(std::byte{0});
    const bool all = this_cpu().vaes_avx512;
    // SAFETY: clears what is named in the clobbers. The C library's copies leave bytes there too.
    if (all) {
        asm volatile(".irp i," HF_0_TO_15 "," HF_16_TO_31 "\n\tvpxord %%zmm\\i,%%zmm\\i,%%zmm\\i\n\t.endr" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                           "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    }
    cipher->seal(kIdentity, sealed, tag);
    // SAFETY: stores each register to its place in the array, and changes none.
    if (all) {
        asm volatile(".irp i," HF_0_TO_15 "," HF_16_TO_31
                     "\n\tvmovdqa64 %%zmm\\i,64*\\i(%0)\n\t.endr" ::"r"(registers.data())
                     : "memory");
    } else {
        asm volatile(".irp i," HF_0_TO_15 "\n\tmovdqa %%xmm\\i,64*\\i(%0)\n\t.endr" ::"r"(registers.data())
                     : "memory");
    }
    for (std::size_t i = 0; i < 32; ++i) EXPECT_TRUE(is_zero(std::span{registers}.subspan(i * 64, 64))) << i;
}

INSTANTIATE_TEST_SUITE_P(
    Each, PageCipherTest,
    ::testing::Values(Case{"AegisVaes", Suite::Aegis256x2, Width::Wide, &CpuFeatures::vaes_avx2},
                      Case{"AegisAesNi", Suite::Aegis256x2, Width::Narrow, &CpuFeatures::aes},
                      Case{"GcmAvx512", Suite::Aes256Gcm, Width::Wide, &CpuFeatures::vaes_avx512},
                      Case{"GcmAesNi", Suite::Aes256Gcm, Width::Narrow, &CpuFeatures::aes}),
    [](const auto& test) { return std::string{test.param.name}; });

/// Little-endian fields one after the other: nonces and contexts, put together here once more.
class Fields {
public:
    Fields& add(std::uint64_t value, int bytes) {
        for (int i = 0; i < bytes; ++i) octets.push_back(static_cast<std::uint8_t>(value >> 8 * i));
        return *this;
    }
    Fields& add(std::span<const std::byte> bytes) {
        for (const std::byte byte : bytes) octets.push_back(static_cast<std::uint8_t>(byte));
        return *this;
    }
    std::vector<std::uint8_t> octets;
};
Fields context_of(const PageIdentity& identity, Suite suite) {
    const int format = 1;
    return Fields{}
        .add(format, 4)
        .add(static_cast<std::uint8_t>(suite), 4)
        .add(identity.region, 4)
        .add(identity.page, 4)
        .add(identity.version, 8)
        .add(kVm);
}

/// AES-256-GCM of a page by OpenSSL.
void seal_with_openssl(const SecretKey& key, const PageIdentity& identity, PageBytes page, Tag& tag) {
    const auto nonce = Fields{}.add(identity.page, 4).add(identity.version, 8).octets;
    const auto context = context_of(identity, Suite::Aes256Gcm).octets;
    const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> evp{EVP_CIPHER_CTX_new(),
                                                                              EVP_CIPHER_CTX_free};
    auto* const octets = reinterpret_cast<unsigned char*>(page.data());
    const auto* const secret = reinterpret_cast<const unsigned char*>(key.bytes().data());
    int done = 0;
    ASSERT_EQ(EVP_EncryptInit_ex(evp.get(), EVP_aes_256_gcm(), nullptr, secret, nonce.data()), 1);
    ASSERT_EQ(EVP_EncryptUpdate(evp.get(), nullptr, &done, context.data(), static_cast<int>(context.size())),
              1);
    ASSERT_EQ(EVP_EncryptUpdate(evp.get(), octets, &done, octets, kPageSize), 1);
    ASSERT_EQ(EVP_EncryptFinal_ex(evp.get(), octets, &done), 1);
    ASSERT_EQ(EVP_CIPHER_CTX_ctrl(evp.get(), EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag.data()), 1);
}

class GcmTest : public PageCipherTest {};

TEST_P(GcmTest, AgreesWithOpenSsl) {
    for (std::uint32_t i = 0; i < 200; ++i) {
        const PageIdentity identity{
            .region = i, .page = i * 0x01010101, .version = 1 + i * 0x0101010101010101ULL};
        Page ours = random_page();
        Page theirs = ours;
        Tag our_tag{};
        Tag their_tag{};
        cipher->seal(identity, ours, our_tag);
        seal_with_openssl(key, identity, theirs, their_tag);
        ASSERT_EQ(ours, theirs);
        ASSERT_EQ(our_tag, their_tag);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Each, GcmTest,
    ::testing::Values(Case{"GcmAvx512", Suite::Aes256Gcm, Width::Wide, &CpuFeatures::vaes_avx512},
                      Case{"GcmAesNi", Suite::Aes256Gcm, Width::Narrow, &CpuFeatures::aes}),
    [](const auto& test) { return std::string{test.param.name}; });

class AegisPageTest : public PageCipherTest {};

TEST_P(AegisPageTest, AgreesWithTheReference) {
    const auto nonce =
        Fields{}.add(kVm).add(kIdentity.region, 4).add(kIdentity.page, 4).add(kIdentity.version, 8).octets;
    const auto context = context_of(kIdentity, Suite::Aegis256x2).octets;
    const auto message = Fields{}.add(plain).octets;
    const auto secret = Fields{}.add(key.bytes()).octets;
    const auto expected = reference::encrypt(secret, nonce, context, message);
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span{expected.text}), sealed));
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span{expected.tag}), tag));
}

INSTANTIATE_TEST_SUITE_P(
    Each, AegisPageTest,
    ::testing::Values(Case{"AegisVaes", Suite::Aegis256x2, Width::Wide, &CpuFeatures::vaes_avx2},
                      Case{"AegisAesNi", Suite::Aegis256x2, Width::Narrow, &CpuFeatures::aes}),
    [](const auto& test) { return std::string{test.param.name}; });

TEST(Suites, NamesGoBothWays) {
    for (const Suite suite : {Suite::Aegis256x2, Suite::Aes256Gcm}) {
        const auto parsed = parse_suite(suite_name(suite));
        ASSERT_TRUE(parsed);
        EXPECT_EQ(*parsed, suite);
    }
    EXPECT_EQ(parse_suite("aes-256-xts").error().fault, Fault::Input);
}

TEST(Suites, ProcessorDecidesTheWidth) {
    const CpuFeatures milan{.aes = true, .pclmul = true, .vaes_avx2 = true, .vaes_avx512 = false};
    EXPECT_EQ(best_width(Suite::Aegis256x2, milan).value(), Width::Wide);
    EXPECT_EQ(best_width(Suite::Aes256Gcm, milan).value(), Width::Narrow);
    const CpuFeatures old{.aes = true, .pclmul = true, .vaes_avx2 = false, .vaes_avx512 = false};
    EXPECT_EQ(best_width(Suite::Aegis256x2, old).value(), Width::Narrow);
}

TEST(Suites, ProcessorWithoutAesIsRefusedAndNamesIt) {
    for (const Suite suite : {Suite::Aegis256x2, Suite::Aes256Gcm}) {
        const auto width = best_width(suite, CpuFeatures{});
        ASSERT_FALSE(width);
        EXPECT_EQ(width.error().fault, Fault::Input);
        EXPECT_NE(std::string_view{width.error().what}.find("AES-NI"), std::string_view::npos);
    }
    EXPECT_FALSE(best_width(Suite::Aes256Gcm, CpuFeatures{.aes = true}));
}

TEST(Suites, ThisProcessorGetsACipher) {
    if (!this_cpu().aes) GTEST_SKIP() << skip_without(&CpuFeatures::aes);
    for (const Suite suite : {Suite::Aegis256x2, Suite::Aes256Gcm})
        EXPECT_TRUE(make_page_cipher(suite, random_key(), kVm));
}

}  // namespace
}  // namespace holdfast::memcrypt
