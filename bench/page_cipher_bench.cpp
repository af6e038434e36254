// SPDX-License-Identifier: Apache-2.0
// What sealing and opening a page costs, by suite and implementation, beside a copy of the page: over one
// page (in the first cache) and over 64 MiB. OpenSSL's AES-256-GCM is the one that was not chosen.
#include <algorithm>
#include <optional>
#include <vector>

#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include "bench/must.hpp"
#include "memcrypt/cipher/suites.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::memcrypt;

constexpr std::size_t kLargeBytes = 64ULL << 20;

/// AES-256-GCM through EVP, with the key schedule kept from page to page.
class OpenSslGcm final : public PageCipher {
public:
    explicit OpenSslGcm(const SecretKey& key) : context_{EVP_CIPHER_CTX_new()} { set_key(key); }
    ~OpenSslGcm() override { EVP_CIPHER_CTX_free(context_); }
    void set_key(const SecretKey& key) noexcept override {
        EVP_CipherInit_ex(context_, EVP_aes_256_gcm(), nullptr, octets(key.bytes().data()), nullptr, 1);
    }
    void seal(const PageIdentity& identity, PageBytes page, Tag& tag) noexcept override {
        int done = 0;
        start(identity, 1);
        EVP_EncryptUpdate(context_, octets(page.data()), &done, octets(page.data()), kPageSize);
        EVP_EncryptFinal_ex(context_, octets(page.data()), &done);
        EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag.size()), tag.data());
    }
    bool open(const PageIdentity& identity, ConstPageBytes sealed, PageBytes plain,
              const Tag& tag) noexcept override {
        int done = 0;
        Tag given = tag;
        start(identity, 0);
        EVP_DecryptUpdate(context_, octets(plain.data()), &done, octets(sealed.data()), kPageSize);
        EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(given.size()), given.data());
        return EVP_DecryptFinal_ex(context_, octets(plain.data()), &done) == 1;
    }

private:
    static unsigned char* octets(std::byte* from) { return reinterpret_cast<unsigned char*>(from); }
    static const unsigned char* octets(const std::byte* from) {
        return reinterpret_cast<const unsigned char*>(from);
    }
    void start(const PageIdentity& identity, int encrypt) {
        std::array<std::byte, 40> data{};
        std::copy_n(std::as_bytes(std::span{&identity, 1}).begin(), sizeof identity, data.begin());
        int done = 0;
        EVP_CipherInit_ex(context_, nullptr, nullptr, nullptr, octets(data.data()), encrypt);
        EVP_CipherUpdate(context_, nullptr, &done, octets(data.data()), static_cast<int>(data.size()));
    }
    EVP_CIPHER_CTX* context_;
};

enum class Which : std::uint8_t { AegisWide, AegisNarrow, GcmWide, GcmNarrow, GcmOpenSsl };

/// Nothing if this processor cannot run it.
std::unique_ptr<PageCipher> make(Which which) {
    const SecretKey key = must(SecretKey::random());
    const CpuFeatures cpu = this_cpu();
    switch (which) {
        case Which::AegisWide: return cpu.vaes_avx2 ? must(make_aegis256x2(Width::Wide, key, {})) : nullptr;
        case Which::AegisNarrow: return cpu.aes ? must(make_aegis256x2(Width::Narrow, key, {})) : nullptr;
        case Which::GcmWide: return cpu.vaes_avx512 ? must(make_aes256gcm(Width::Wide, key, {})) : nullptr;
        case Which::GcmNarrow: return cpu.aes ? must(make_aes256gcm(Width::Narrow, key, {})) : nullptr;
        case Which::GcmOpenSsl: return std::make_unique<OpenSslGcm>(key);
    }
    return nullptr;
}

class Pages {
public:
    explicit Pages(std::size_t bytes) : memory_{must(Mapping::anonymous(bytes))} {
        std::ranges::fill(memory_.bytes(), std::byte{1});
    }
    [[nodiscard]] std::uint32_t count() const {
        return static_cast<std::uint32_t>(memory_.size() / kPageSize);
    }
    [[nodiscard]] PageBytes operator[](std::uint32_t page) const {
        return memory_.bytes().subspan(page * kPageSize).first<kPageSize>();
    }

private:
    Mapping memory_;
};

void report(benchmark::State& state) {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kPageSize));
}

void seal(benchmark::State& state, Which which) {
    const auto cipher = make(which);
    if (cipher == nullptr) return state.SkipWithError("not on this processor");
    const Pages pages{static_cast<std::size_t>(state.range(0))};
    PageIdentity identity{.region = 0, .page = 0, .version = 1};
    Tag tag{};
    for ([[maybe_unused]] auto _ : state) {
        cipher->seal(identity, pages[identity.page], tag);
        if (++identity.page == pages.count())
            identity = {.region = 0, .page = 0, .version = identity.version + 1};
    }
    report(state);
}

void open(benchmark::State& state, Which which) {
    const auto cipher = make(which);
    if (cipher == nullptr) return state.SkipWithError("not on this processor");
    const Pages pages{static_cast<std::size_t>(state.range(0))};
    const Pages bounce{kPageSize};
    std::vector<Tag> tags(pages.count());
    for (std::uint32_t page = 0; page < pages.count(); ++page)
        cipher->seal({.region = 0, .page = page, .version = 1}, pages[page], tags[page]);
    std::uint32_t page = 0;
    for ([[maybe_unused]] auto _ : state) {
        check(cipher->open({.region = 0, .page = page, .version = 1}, pages[page], bounce[0], tags[page]),
              "tag");
        if (++page == pages.count()) page = 0;
    }
    report(state);
}

void copy(benchmark::State& state) {
    const Pages pages{static_cast<std::size_t>(state.range(0))};
    const Pages bounce{kPageSize};
    std::uint32_t page = 0;
    for ([[maybe_unused]] auto _ : state) {
        std::ranges::copy(pages[page], bounce[0].begin());
        benchmark::ClobberMemory();
        if (++page == pages.count()) page = 0;
    }
    report(state);
}

#define HF_BOTH_SIZES ->Arg(kPageSize)->Arg(kLargeBytes)
BENCHMARK(copy) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(seal, aegis_256x2_vaes, Which::AegisWide) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(open, aegis_256x2_vaes, Which::AegisWide) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(seal, aegis_256x2_aesni, Which::AegisNarrow) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(open, aegis_256x2_aesni, Which::AegisNarrow) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(seal, aes_256_gcm_avx512, Which::GcmWide) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(open, aes_256_gcm_avx512, Which::GcmWide) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(seal, aes_256_gcm_aesni, Which::GcmNarrow) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(open, aes_256_gcm_aesni, Which::GcmNarrow) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(seal, aes_256_gcm_openssl, Which::GcmOpenSsl) HF_BOTH_SIZES;
BENCHMARK_CAPTURE(open, aes_256_gcm_openssl, Which::GcmOpenSsl) HF_BOTH_SIZES;

}  // namespace

BENCHMARK_MAIN();
