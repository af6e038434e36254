// SPDX-License-Identifier: Apache-2.0
// An SNP platform of the test's own: ARK, ASK, ASVK, endorsement keys, and reports signed by them. Synthetic.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "attest/formats/snp/policy.hpp"
#include "tests/unit/attest/fake_authority.hpp"

namespace holdfast::attest::test {

inline Buffer der_number(unsigned value) {
    if (value < 128) return {std::byte{2}, std::byte{1}, static_cast<std::byte>(value)};
    return {std::byte{2}, std::byte{2}, std::byte{0}, static_cast<std::byte>(value)};
}
inline Buffer der_text(const std::string& text) {
    Buffer out{std::byte{0x16}, static_cast<std::byte>(text.size())};
    const Buffer content = buffer(text);
    out.insert(out.end(), content.begin(), content.end());
    return out;
}

struct FakeSnp {
    // What the endorsement says.
    std::string product = "Milan";
    std::string product_extension = "Milan-B0";
    std::string authority = "SEV-Milan";  ///< who issued it; its key is that of the ASK
    bool vlek = false;
    snp::Tcb endorsed{.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = 219};
    Buffer hardware = Buffer(64, std::byte{0xc1});
    std::vector<std::string> left_out{};  ///< extensions that the endorsement lacks

    /// The report before it is signed; a test writes into it where the format has what it is about.
    std::array<std::byte, snp::kReportSize> report{};

    static inline const Key ark = Key::rsa();
    static inline const Key ask = Key::rsa();
    static inline const Key vek = Key::ec("P-384");

    FakeSnp() {
        set32(0x00, 3);
        set64(0x08, 0x3001f);
        set32(0x34, 1);
        for (const std::size_t tcb : {0x38U, 0x180U, 0x1e0U, 0x1f0U})
            set_tcb(tcb, {4, 0, 0, 0, 0, 0, 24, 219});
        report[0x188] = std::byte{0x19};
        report[0x189] = std::byte{0x01};
        std::ranges::fill(std::span{report}.subspan(0x1a0, 64), std::byte{0xc1});
        std::ranges::fill(std::span{report}.subspan(0x90, 48), std::byte{0x3e});
    }
    void set32(std::size_t offset, std::uint32_t value) {
        std::memcpy(report.data() + offset, &value, sizeof value);
    }
    void set64(std::size_t offset, std::uint64_t value) {
        std::memcpy(report.data() + offset, &value, sizeof value);
    }
    void set_tcb(std::size_t offset, const snp::TcbBytes& tcb) {
        std::memcpy(report.data() + offset, tcb.data(), 8);
    }
    void make_turin() {
        product = product_extension = "Turin";
        authority = "SEV-Turin";
        endorsed = {.fmc = 1, .bootloader = 2, .tee = 0, .snp = 4, .microcode = 71};
        hardware = Buffer(8, std::byte{0xc1});
        report[0x188] = std::byte{0x1a};
        for (const std::size_t tcb : {0x38U, 0x180U, 0x1e0U, 0x1f0U}) set_tcb(tcb, {1, 2, 0, 4, 0, 0, 0, 71});
        std::ranges::fill(std::span{report}.subspan(0x1a8, 56), std::byte{0});
    }
    void make_vlek() {
        vlek = true;
        authority = "SEV-VLEK-Milan";
        set32(0x48, 1 << 2);
    }

    [[nodiscard]] Certificate root() const {
        return certificate({.subject = "ARK-" + product, .is_ca = true}, ark, ark);
    }
    [[nodiscard]] Certificate middle() const {
        return certificate(
            {.subject = authority, .issuer = "ARK-" + product, .serial = 0x10001, .is_ca = true}, ask, ark);
    }
    const Key* endorsed_key = &vek;
    [[nodiscard]] Certificate endorsement() const {
        const std::string arc = "1.3.6.1.4.1.3704.1.";
        CertificateForm form{.subject = vlek ? "SEV-VLEK" : "SEV-VCEK", .issuer = authority};
        const auto add = [&](const std::string& oid, const Buffer& content) {
            if (std::ranges::find(left_out, oid) == left_out.end())
                form.extensions.emplace_back(arc + oid, content);
        };
        add("1", der_number(0));
        add("2", der_text(product_extension));
        add("3.1", der_number(endorsed.bootloader));
        add("3.2", der_number(endorsed.tee));
        add("3.3", der_number(endorsed.snp));
        add("3.8", der_number(endorsed.microcode));
        if (endorsed.fmc) add("3.9", der_number(*endorsed.fmc));
        if (vlek) add("5", der_text("somebody's cloud"));
        else add("4", hardware);
        return certificate(form, *endorsed_key, ask);
    }
    void sign(const Key& key) {
        const Buffer numbers = key.sign(EVP_sha384(), std::span{report}.first(0x2a0));
        std::ranges::fill(std::span{report}.subspan(0x2a0), std::byte{0});
        std::ranges::reverse_copy(std::span{numbers}.first(48), report.begin() + 0x2a0);
        std::ranges::reverse_copy(std::span{numbers}.subspan(48), report.begin() + 0x2a0 + 72);
    }
    void sign() { sign(vek); }

    std::vector<Crl> crls{};
    std::int64_t at = kNow;
    [[nodiscard]] std::optional<Authenticated<snp::Endorsed>> authenticate(Findings& findings) const {
        const auto parsed = snp::parse_report(report);
        if (!parsed) {
            findings.add(Code::SnpMalformed, parsed.error().what);
            return std::nullopt;
        }
        const Certificate trusted = root();
        const Certificate helper = middle();
        const Buffer presented = endorsement().der();
        auto verifier = std::move(*ChainVerifier::create(std::span{&trusted, 1}));
        return snp::authenticate(
            *parsed, {.presented = presented, .helpers = std::span{&helper, 1}, .crls = crls, .at = at},
            verifier, findings);
    }
    /// Signs, authenticates and appraises, and says why not.
    std::string judge(const snp::Policy& policy = {}) {
        sign();
        Findings findings;
        if (const auto authentic = authenticate(findings)) snp::appraise(*authentic, policy, findings);
        last = findings;
        return reasons(findings);
    }
    Findings last;
};

}  // namespace holdfast::attest::test
