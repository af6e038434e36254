// SPDX-License-Identifier: Apache-2.0
// Pages under AES-256-GCM (NIST SP 800-38D), by libipsec-mb. Its manager is not used: that would link each of
// its algorithms, 13 MB of them, where two sets of functions are needed.
#include <cstring>

#include <intel-ipsec-mb.h>

#include "memcrypt/cipher/binding.hpp"
#include "memcrypt/cipher/suites.hpp"

extern "C" {
// The header names the narrow functions for direct use; these are exported beside them.
void aes_gcm_pre_256_vaes_avx512(const void* key, gcm_key_data* schedule);
void aes_gcm_enc_256_vaes_avx512(const gcm_key_data*, gcm_context_data*, uint8_t*, const uint8_t*, uint64_t,
                                 const uint8_t*, const uint8_t*, uint64_t, uint8_t*, uint64_t);
void aes_gcm_dec_256_vaes_avx512(const gcm_key_data*, gcm_context_data*, uint8_t*, const uint8_t*, uint64_t,
                                 const uint8_t*, const uint8_t*, uint64_t, uint8_t*, uint64_t);
}

namespace holdfast::memcrypt {
namespace {

struct Functions {
    aes_gcm_pre_t expand;
    aes_gcm_enc_dec_t encrypt;
    aes_gcm_enc_dec_t decrypt;
};
constexpr Functions kNarrow{aes_gcm_pre_256_sse, aes_gcm_enc_256_sse, aes_gcm_dec_256_sse};
constexpr Functions kWide{aes_gcm_pre_256_vaes_avx512, aes_gcm_enc_256_vaes_avx512,
                          aes_gcm_dec_256_vaes_avx512};

struct Locked {
    gcm_key_data schedule;
    gcm_context_data state;  // the library leaves a block of key stream here
    Tag expected;
};

template <typename T>
const std::uint8_t* octets(const T* from) noexcept {
    return reinterpret_cast<const std::uint8_t*>(from);  // SAFETY: a character type
}
template <typename T>
std::uint8_t* octets(T* from) noexcept {
    return reinterpret_cast<std::uint8_t*>(from);  // SAFETY: a character type
}

class Aes256Gcm final : public PageCipher {
public:
    Aes256Gcm(const Functions& functions, Secret<Locked> locked, const VmId& vm) noexcept
        : functions_{functions}, locked_{std::move(locked)}, vm_{vm} {}

    void set_key(const SecretKey& key) noexcept override {
        functions_.expand(key.bytes().data(), &locked_->schedule);
    }

    void seal(const PageIdentity& identity, PageBytes page, Tag& tag) noexcept override {
        run(functions_.encrypt, identity, page, tag);
    }

    bool open(const PageIdentity& identity, ConstPageBytes sealed, PageBytes plain,
              const Tag& tag) noexcept override {
        // The library may read its input more than once, and another process may write to `sealed` in
        // between: what is decrypted and authenticated is a copy.
        std::memcpy(plain.data(), sealed.data(), plain.size());
        Tag& expected = locked_->expected;
        run(functions_.decrypt, identity, plain, expected);
        const bool genuine = equal_constant_time(expected, tag);
        wipe(expected);
        if (!genuine) wipe(plain);
        return genuine;
    }

private:
    void run(aes_gcm_enc_dec_t function, const PageIdentity& identity, PageBytes page, Tag& tag) noexcept {
        const binding::GcmNonce nonce{.page = identity.page, .version = identity.version};
        const binding::Context context = binding::context(Suite::Aes256Gcm, vm_, identity);
        function(&locked_->schedule, &locked_->state, octets(page.data()), octets(page.data()), page.size(),
                 octets(&nonce), octets(&context), sizeof(context), octets(tag.data()), tag.size());
    }

    const Functions& functions_;
    Secret<Locked> locked_;
    VmId vm_;
};

}  // namespace

Result<std::unique_ptr<PageCipher>> make_aes256gcm(Width width, const SecretKey& key, const VmId& vm) {
    const Functions& functions = width == Width::Wide ? kWide : kNarrow;
    auto cipher = std::make_unique<Aes256Gcm>(functions, HF_TRY(Secret<Locked>::create()), vm);
    cipher->set_key(key);
    return cipher;
}

}  // namespace holdfast::memcrypt
