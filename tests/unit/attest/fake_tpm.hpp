// SPDX-License-Identifier: Apache-2.0
// The other side of a quote: a key of OpenSSL's that signs statements as a TPM would, and whatever else it is
// told to.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "attest/formats/tpm/spec.hpp"
#include "attest/verify/nv_certify.hpp"
#include "attest/verify/quote.hpp"
#include "sys/free_with.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest::test {

using Buffer = std::vector<std::byte>;

inline Buffer bytes(std::string_view text) {
    const auto span = std::as_bytes(std::span{text});
    return {span.begin(), span.end()};
}

class FakeTpm {
public:
    enum class Key { Rsa2048, Rsa1024, P256, P384 };
    explicit FakeTpm(Key kind) : kind_{kind} {
        switch (kind) {
            case Key::Rsa2048: key_.reset(EVP_RSA_gen(2048)); break;
            case Key::Rsa1024: key_.reset(EVP_RSA_gen(1024)); break;
            case Key::P256: key_.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")); break;
            case Key::P384: key_.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384")); break;
        }
        EXPECT_TRUE(key_);
    }

    // What the public area says, and how it signs.
    std::uint32_t attributes =
        0x00050072;  // fixedTPM fixedParent sensitiveDataOrigin userWithAuth restricted sign
    HashAlg hash = HashAlg::Sha256;
    bool pss = false;
    std::uint16_t area_scheme_hash = 0;  // 0: `hash`

    [[nodiscard]] bool is_rsa() const { return kind_ == Key::Rsa2048 || kind_ == Key::Rsa1024; }
    [[nodiscard]] std::uint16_t scheme() const {
        if (!is_rsa()) return tpm::alg::ECDSA;
        return pss ? tpm::alg::RSAPSS : tpm::alg::RSASSA;
    }

    [[nodiscard]] Buffer public_area() const {
        tpm2::Writer out;
        out.put(is_rsa() ? tpm::alg::RSA : tpm::alg::ECC);
        out.put(std::uint16_t{0x000b});
        out.put(attributes);
        out.put(std::uint16_t{0});
        out.put(tpm::alg::NULL_);
        out.put(scheme());
        out.put(area_scheme_hash != 0 ? area_scheme_hash : static_cast<std::uint16_t>(hash));
        if (is_rsa()) {
            out.put(static_cast<std::uint16_t>(EVP_PKEY_get_bits(key_.get())));
            out.put(std::uint32_t{0});
            put_number(out, "n");
        } else {
            out.put(kind_ == Key::P256 ? tpm::ecc::NIST_P256 : tpm::ecc::NIST_P384);
            out.put(tpm::alg::NULL_);
            put_number(out, "qx");
            put_number(out, "qy");
        }
        return out.take();
    }
    [[nodiscard]] Buffer spki() const { return PublicKey::from_native(key_.get())->spki(); }
    [[nodiscard]] evp_pkey_st* native() const { return key_.get(); }

    [[nodiscard]] Buffer sign(const Buffer& message) const {
        const std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>> context{EVP_MD_CTX_new()};
        EVP_PKEY_CTX* inner = nullptr;
        EXPECT_EQ(EVP_DigestSignInit_ex(context.get(), &inner, std::string{hash_name(hash)}.c_str(), nullptr,
                                        nullptr, key_.get(), nullptr),
                  1);
        if (pss) {
            EXPECT_EQ(EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING), 1);
        }
        std::vector<unsigned char> raw(1024);
        std::size_t size = raw.size();
        // SAFETY: bytes as bytes.
        const auto* const data = reinterpret_cast<const unsigned char*>(message.data());
        EXPECT_EQ(EVP_DigestSign(context.get(), raw.data(), &size, data, message.size()), 1);
        raw.resize(size);
        return wire_signature(raw);
    }

private:
    static void put_sized(tpm2::Writer& out, std::span<const unsigned char> number) {
        out.put(static_cast<std::uint16_t>(number.size()));
        out.put_raw(std::as_bytes(number));
    }
    void put_number(tpm2::Writer& out, const char* name) const {
        BIGNUM* number = nullptr;
        EXPECT_EQ(EVP_PKEY_get_bn_param(key_.get(), name, &number), 1);
        std::vector<unsigned char> raw(static_cast<std::size_t>(BN_num_bytes(number)));
        BN_bn2bin(number, raw.data());
        BN_free(number);
        put_sized(out, raw);
    }
    [[nodiscard]] Buffer wire_signature(const std::vector<unsigned char>& raw) const {
        tpm2::Writer out;
        out.put(scheme());
        out.put(static_cast<std::uint16_t>(hash));
        if (is_rsa()) {
            put_sized(out, raw);
            return out.take();
        }
        const unsigned char* at = raw.data();
        const std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>> both{
            d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(raw.size()))};
        for (const BIGNUM* const number : {ECDSA_SIG_get0_r(both.get()), ECDSA_SIG_get0_s(both.get())}) {
            std::vector<unsigned char> one(static_cast<std::size_t>(BN_num_bytes(number)));
            BN_bn2bin(number, one.data());
            put_sized(out, one);
        }
        return out.take();
    }

    Key kind_;
    std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>> key_;
};

/// A statement about to be made; each test changes what it is about.
struct Statement {
    std::uint32_t magic = tpm::TPM_GENERATED_VALUE;
    std::uint16_t type = tpm::st::ATTEST_QUOTE;
    Buffer nonce = bytes("nonce");
    tpm::ClockInfo clock{.clock = 1000, .reset_count = 5, .restart_count = 1, .safe = true};
    std::vector<tpm2::PcrBank> selection{{.alg = 0x000b, .pcrs = 0xffffff}};
    Buffer pcr_digest;  // of a quote
    Buffer nv_name;     // of a certification
    std::uint16_t nv_offset = 0;
    Buffer nv_contents;

    [[nodiscard]] Buffer encode() const {
        tpm2::Writer out;
        out.put(magic);
        out.put(type);
        put_sized(out, bytes("signer"));
        put_sized(out, nonce);
        out.put(clock.clock);
        out.put(clock.reset_count);
        out.put(clock.restart_count);
        out.put(static_cast<std::uint8_t>(clock.safe ? 1 : 0));
        out.put(std::uint64_t{0x1234});
        if (type == tpm::st::ATTEST_NV) {
            put_sized(out, nv_name);
            out.put(nv_offset);
            put_sized(out, nv_contents);
            return out.take();
        }
        out.put(static_cast<std::uint32_t>(selection.size()));
        for (const tpm2::PcrBank& bank : selection) {
            out.put(bank.alg);
            out.put(std::uint8_t{3});
            for (unsigned i = 0; i < 3; ++i) out.put(static_cast<std::uint8_t>(bank.pcrs >> (8 * i)));
        }
        put_sized(out, pcr_digest);
        return out.take();
    }

private:
    static void put_sized(tpm2::Writer& out, const Buffer& buffer) {
        out.put(static_cast<std::uint16_t>(buffer.size()));
        out.put_raw(buffer);
    }
};

}  // namespace holdfast::attest::test
