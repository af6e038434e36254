// SPDX-License-Identifier: Apache-2.0
// Pages under AEGIS-256X2. The cipher has no key schedule; what is locked here is the key itself.
#include <algorithm>

#include "memcrypt/cipher/aegis256x2_kernel.hpp"
#include "memcrypt/cipher/binding.hpp"
#include "memcrypt/cipher/suites.hpp"

namespace holdfast::memcrypt {
namespace {

struct Locked {
    std::array<std::byte, kKeyBytes> key;
    Tag expected;
};

class Aegis256x2 final : public PageCipher {
public:
    Aegis256x2(const aegis::Kernel& kernel, Secret<Locked> locked, const VmId& vm) noexcept
        : kernel_{kernel}, locked_{std::move(locked)}, vm_{vm} {}

    void set_key(const SecretKey& key) noexcept override {
        std::ranges::copy(key.bytes(), locked_->key.begin());
    }

    void seal(const PageIdentity& identity, PageBytes page, Tag& tag) noexcept override {
        const Binding binding{vm_, identity};
        kernel_.seal(binding.parameters(locked_->key), page.data(), page.size(), tag.data());
        wipe_stack();
    }

    bool open(const PageIdentity& identity, ConstPageBytes sealed, PageBytes plain,
              const Tag& tag) noexcept override {
        const Binding binding{vm_, identity};
        Tag& expected = locked_->expected;
        kernel_.open(binding.parameters(locked_->key), sealed.data(), plain.data(), plain.size(),
                     expected.data());
        wipe_stack();
        const bool genuine = equal_constant_time(expected, tag);
        wipe(expected);
        if (!genuine) wipe(plain);
        return genuine;
    }

private:
    struct Binding {
        Binding(const VmId& vm, const PageIdentity& identity) noexcept
            : nonce{.vm = vm, .region = identity.region, .page = identity.page, .version = identity.version},
              context{binding::context(Suite::Aegis256x2, vm, identity)} {}
        aegis::Parameters parameters(const std::array<std::byte, kKeyBytes>& key) const noexcept {
            return {.key = key.data(),
                    .nonce = std::as_bytes(std::span{&nonce, 1}).data(),
                    .context = std::as_bytes(std::span{&context, 1}).data(),
                    .context_size = sizeof(context)};
        }
        binding::AegisNonce nonce;
        binding::Context context;
        std::array<std::byte, 2 * aegis::kBlock - sizeof(binding::Context)> padding{};
    };
    static_assert(sizeof(Binding) == sizeof(binding::AegisNonce) + 2 * aegis::kBlock);

    const aegis::Kernel& kernel_;
    Secret<Locked> locked_;
    VmId vm_;
};

}  // namespace

Result<std::unique_ptr<PageCipher>> make_aegis256x2(Width width, const SecretKey& key, const VmId& vm) {
    const aegis::Kernel& kernel = width == Width::Wide ? aegis::kVaes : aegis::kAesNi;
    auto cipher = std::make_unique<Aegis256x2>(kernel, HF_TRY(Secret<Locked>::create()), vm);
    cipher->set_key(key);
    return cipher;
}

}  // namespace holdfast::memcrypt
