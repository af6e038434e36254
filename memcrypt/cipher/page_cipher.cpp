// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/cipher/page_cipher.hpp"

#include "memcrypt/cipher/suites.hpp"

namespace holdfast::memcrypt {

std::string_view suite_name(Suite suite) noexcept {
    switch (suite) {
        case Suite::Aegis256x2: return "aegis-256x2";
        case Suite::Aes256Gcm: return "aes-256-gcm";
    }
    bug("suite out of range");
}

Result<Suite> parse_suite(std::string_view name) noexcept {
    for (const Suite suite : {Suite::Aegis256x2, Suite::Aes256Gcm})
        if (name == suite_name(suite)) return suite;
    return input_error("unknown cipher suite");
}

std::uint64_t pages_per_key(Suite suite) noexcept {
    switch (suite) {
        // The draft sees no practical limit with nonces that do not repeat. Ours: 2^48 pages are 2^60 bytes.
        case Suite::Aegis256x2: return 1ULL << 48;
        // 2^40 pages are 2^48 AES blocks: any two of them collide, which is what tells GCM's key stream from
        // random, with a probability of 2^(2*48 - 129) = 2^-33.
        case Suite::Aes256Gcm: return 1ULL << 40;
    }
    bug("suite out of range");
}

Result<Width> best_width(Suite suite, const CpuFeatures& cpu) noexcept {
    if (!cpu.aes) return input_error("this processor has no AES instructions (AES-NI)");
    switch (suite) {
        case Suite::Aegis256x2: return cpu.vaes_avx2 ? Width::Wide : Width::Narrow;
        case Suite::Aes256Gcm:
            if (!cpu.pclmul)
                return input_error("this processor has no carry-less multiplication (PCLMULQDQ)");
            return cpu.vaes_avx512 ? Width::Wide : Width::Narrow;
    }
    bug("suite out of range");
}

Result<std::unique_ptr<PageCipher>> make_page_cipher(Suite suite, const SecretKey& key, const VmId& vm) {
    const Width width = HF_TRY(best_width(suite, this_cpu()));
    switch (suite) {
        case Suite::Aegis256x2: return make_aegis256x2(width, key, vm);
        case Suite::Aes256Gcm: return make_aes256gcm(width, key, vm);
    }
    bug("suite out of range");
}

}  // namespace holdfast::memcrypt
