// SPDX-License-Identifier: Apache-2.0
// A TDX platform of the test's own: root, platform authority, PCK, quoting enclave and attestation key,
// quotes that they vouch for, and collateral. Synthetic.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "attest/formats/tdx/policy.hpp"
#include "tests/unit/attest/fake_authority.hpp"

namespace holdfast::attest::test {

inline void append(Buffer& to, std::span<const std::byte> more) {
    to.insert(to.end(), more.begin(), more.end());
}
inline void append16(Buffer& to, std::size_t value) {
    to.push_back(static_cast<std::byte>(value));
    to.push_back(static_cast<std::byte>(value >> 8));
}
inline void append32(Buffer& to, std::size_t value) {
    append16(to, value & 0xffff);
    append16(to, value >> 16);
}
inline Buffer der_of(unsigned tag, std::span<const std::byte> content) {
    Buffer out{static_cast<std::byte>(tag)};
    if (content.size() < 128) out.push_back(static_cast<std::byte>(content.size()));
    else if (content.size() < 256)
        out.insert(out.end(), {std::byte{0x81}, static_cast<std::byte>(content.size())});
    else {
        out.insert(out.end(), {std::byte{0x82}, static_cast<std::byte>(content.size() >> 8),
                               static_cast<std::byte>(content.size())});
    }
    append(out, content);
    return out;
}
inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
    return text;
}

/// Intel's SGX extension.
struct SgxExtension {
    Buffer ppid = Buffer(16, std::byte{0x99});
    Buffer fmspc{std::byte{0x50}, std::byte{0x80}, std::byte{0x6f}, std::byte{0}, std::byte{0}, std::byte{0}};
    Buffer pce_id = Buffer(2);
    std::array<unsigned, 16> components{3, 3, 2, 2, 4, 1, 0, 5};
    unsigned pce_svn = 11;
    unsigned left_out = 0;  ///< a member that is not there

    static Buffer member(std::initializer_list<unsigned> suffix, const Buffer& value) {
        Buffer oid{std::byte{0x2a}, std::byte{0x86}, std::byte{0x48}, std::byte{0x86}, std::byte{0xf8},
                   std::byte{0x4d}, std::byte{0x01}, std::byte{0x0d}, std::byte{0x01}};
        for (const unsigned one : suffix) oid.push_back(static_cast<std::byte>(one));
        Buffer both = der_of(6, oid);
        append(both, value);
        return der_of(0x30, both);
    }
    static Buffer number(unsigned value) {
        Buffer content;
        if (value > 255) content.push_back(static_cast<std::byte>(value >> 8));
        else if (value > 127) content.push_back(std::byte{0});
        content.push_back(static_cast<std::byte>(value));
        return der_of(2, content);
    }
    [[nodiscard]] Buffer der() const {
        Buffer tcb;
        for (unsigned i = 0; i < components.size(); ++i)
            append(tcb, member({2, i + 1}, number(components[i])));
        append(tcb, member({2, 17}, number(pce_svn)));
        append(tcb, member({2, 18}, der_of(4, Buffer(16))));
        Buffer all;
        if (left_out != 1) append(all, member({1}, der_of(4, ppid)));
        if (left_out != 2) append(all, member({2}, der_of(0x30, tcb)));
        if (left_out != 3) append(all, member({3}, der_of(4, pce_id)));
        if (left_out != 4) append(all, member({4}, der_of(4, fmspc)));
        append(all, member({5}, der_of(10, Buffer(1))));
        return der_of(0x30, all);
    }
};

inline constexpr const char* kTcbInfo =
    R"({"id":"TDX","version":3,"issueDate":"2026-05-20T00:00:00Z","nextUpdate":"2026-06-20T00:00:00Z",)"
    R"("fmspc":"50806F000000","pceId":"0000","tcbType":0,"tcbEvaluationDataNumber":17,"tdxModule":{"mrsigner":)"
    R"("000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",)"
    R"("attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF"},"tdxModuleIdentities":[{"id":"TDX_01",)"
    R"("mrsigner":"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",)"
    R"("attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF","tcbLevels":[{"tcb":{"isvsvn":4},)"
    R"("tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"UpToDate"},{"tcb":{"isvsvn":2},"tcbDate":"2023-08-09T00:00:00Z",)"
    R"("tcbStatus":"OutOfDate"}]}],"tcbLevels":[{"tcb":{"sgxtcbcomponents":[{"svn":3},{"svn":3},{"svn":2},{"svn":2},)"
    R"({"svn":4},{"svn":1},{"svn":0},{"svn":5},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},)"
    R"({"svn":0}],"pcesvn":11,"tdxtcbcomponents":[{"svn":5},{"svn":0},{"svn":3},{"svn":0},{"svn":0},{"svn":0},)"
    R"({"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0}]},)"
    R"("tcbDate":"2024-11-13T00:00:00Z","tcbStatus":"UpToDate"},{"tcb":{"sgxtcbcomponents":[{"svn":2},{"svn":2},)"
    R"({"svn":2},{"svn":2},{"svn":3},{"svn":1},{"svn":0},{"svn":5},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},)"
    R"({"svn":0},{"svn":0},{"svn":0}],"pcesvn":11,"tdxtcbcomponents":[{"svn":5},{"svn":0},{"svn":2},{"svn":0},)"
    R"({"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},{"svn":0},)"
    R"({"svn":0}]},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"OutOfDate","advisoryIDs":["INTEL-SA-01036"]}]})";

inline constexpr const char* kQeIdentity =
    R"({"id":"TD_QE","version":2,"issueDate":"2026-05-20T00:00:00Z","nextUpdate":"2026-06-20T00:00:00Z",)"
    R"("tcbEvaluationDataNumber":17,"miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":)"
    R"("11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":)"
    R"("dcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdc","isvprodid":2,"tcbLevels":[{"tcb":)"
    R"({"isvsvn":4},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"UpToDate"},{"tcb":{"isvsvn":3},"tcbDate":)"
    R"("2023-03-13T00:00:00Z","tcbStatus":"OutOfDate"}]})";

struct FakeTdx {
    static inline const Key root_key = Key::ec("P-256");
    static inline const Key platform_key = Key::ec("P-256");
    static inline const Key pck_key = Key::ec("P-256");
    static inline const Key signer_key = Key::ec("P-256");
    static inline const Key attestation_key = Key::ec("P-256");

    SgxExtension sgx;
    unsigned version = 4;
    unsigned key_type = 2;
    unsigned tee_type = 0x81;
    Buffer vendor{std::byte{0x93}, std::byte{0x9a}, std::byte{0x72}, std::byte{0x33},
                  std::byte{0xf7}, std::byte{0x9c}, std::byte{0x4c}, std::byte{0xa9},
                  std::byte{0x94}, std::byte{0x0a}, std::byte{0x0d}, std::byte{0xb3},
                  std::byte{0x95}, std::byte{0x7f}, std::byte{0x06}, std::byte{0x07}};
    Buffer body = Buffer(584);
    Buffer enclave = Buffer(384);  ///< the quoting enclave's report, but for what it binds
    Buffer authentication_data = buffer("auth");
    std::string tcb_info = kTcbInfo;
    std::string qe_identity = kQeIdentity;
    std::vector<Crl> crls{};
    std::int64_t at = kNow;
    bool with_collateral = true;

    // Who signs: tests put somebody else here.
    const Key* enclave_signer = &pck_key;
    const Key* quote_signer = &attestation_key;
    const Key* collateral_signer = &signer_key;
    const Key* bound_key = &attestation_key;

    FakeTdx() {
        body[0] = std::byte{5};  // TEE_TCB_SVN: module 1.5
        body[1] = std::byte{1};
        body[2] = std::byte{3};
        body[123] = std::byte{0x10};  // SEPT_VE_DISABLE
        std::ranges::fill(std::span{enclave}.subspan(128, 32), std::byte{0xdc});
        enclave[48] = std::byte{0x11};
        enclave[256] = std::byte{2};
        enclave[258] = std::byte{4};
    }
    void make_td15() {
        version = 5;
        body.resize(648);
    }

    [[nodiscard]] Certificate root() const {
        return certificate({.subject = "root", .is_ca = true}, root_key, root_key);
    }
    [[nodiscard]] Certificate platform() const {
        return certificate({.subject = "platform", .issuer = "root", .serial = 2, .is_ca = true},
                           platform_key, root_key);
    }
    [[nodiscard]] Certificate pck() const {
        return certificate({.subject = "pck",
                            .issuer = "platform",
                            .serial = 3,
                            .extensions = {{"1.2.840.113741.1.13.1", sgx.der()}}},
                           pck_key, platform_key);
    }
    [[nodiscard]] Certificate signer() const {
        return certificate({.subject = "signer", .issuer = "root", .serial = 4}, signer_key, root_key);
    }

    [[nodiscard]] Buffer quote() const {
        Buffer out;
        append16(out, version);
        append16(out, key_type);
        append32(out, tee_type);
        append32(out, 0);
        append(out, vendor);
        append(out, Buffer(20));
        if (version == 5) {
            append16(out, body.size() == 384 ? 1 : body.size() == 584 ? 2 : 3);
            append32(out, body.size());
        }
        append(out, body);
        Buffer signed_data = quote_signer->sign(EVP_sha256(), out);
        append(signed_data, attestation_key.point());
        const Buffer certification = certification_data();
        if (version != 3) {
            append16(signed_data, 6);
            append32(signed_data, certification.size());
        }
        append(signed_data, certification);
        append32(out, signed_data.size());
        append(out, signed_data);
        return out;
    }

    [[nodiscard]] tdx::Statement statement(const std::string& body_text) const {
        const std::vector chain{signer(), root()};
        return {.body = body_text,
                .signature = collateral_signer->sign(EVP_sha256(), std::as_bytes(std::span{body_text})),
                .issuer_chain = pem(chain)};
    }

    /// All collateral in one JSON object, as `holdfast verify --collateral` takes it.
    [[nodiscard]] std::string bundle() const {
        const auto quoted = [](const std::string& text) {
            std::string out{'"'};
            for (const char c : text) {
                if (c == '\n') out += "\\n";
                else out += c == '"' ? "\\\"" : std::string{c};
            }
            return out + '"';
        };
        std::string json;
        for (const auto& [name, text] :
             {std::pair{"tcb_info", tcb_info}, std::pair{"qe_identity", qe_identity}}) {
            const tdx::Statement signed_text = statement(text);
            const std::string key = (json.empty() ? "{\"" : ",\"") + std::string{name};
            json += key + "\":" + quoted(signed_text.body);
            json += ",\"" + std::string{name} + "_signature\":" + quoted(hex(signed_text.signature));
            json += ",\"" + std::string{name} + "_issuer_chain\":" + quoted(signed_text.issuer_chain);
        }
        return json + '}';
    }

    /// `bytes`, which it borrows, by the authorities of this platform alone.
    [[nodiscard]] std::optional<Authenticated<tdx::Certified>> authenticate(const Buffer& bytes,
                                                                            Findings& findings) const {
        const auto parsed = tdx::parse_quote(bytes);
        EXPECT_TRUE(parsed);
        const Certificate trusted = root();
        auto verifier = std::move(*ChainVerifier::create(std::span{&trusted, 1}));
        return tdx::authenticate(*parsed, {.presented = {}, .at = kNow}, verifier, findings);
    }
    /// Authenticates and appraises, and says why not.
    std::string judge(const tdx::Policy& policy = {}) { return judge(quote(), policy); }
    std::string judge(const Buffer& bytes, const tdx::Policy& policy) {
        last = {};
        status = {};
        const auto parsed = tdx::parse_quote(bytes);
        if (!parsed) {
            last.add(Code::TdxMalformed, parsed.error().what);
            return reasons(last);
        }
        const Certificate trusted = root();
        auto verifier = std::move(*ChainVerifier::create(std::span{&trusted, 1}));
        const ChainRequest known{.presented = {}, .helpers = {}, .crls = crls, .at = at};
        const auto authentic = tdx::authenticate(*parsed, known, verifier, last);
        if (!authentic) return reasons(last);
        tdx::Collateral collateral;
        if (with_collateral) {
            if (!tcb_info.empty()) {
                collateral.tcb_info = tdx::authenticate_tcb_info(statement(tcb_info), known, verifier, last);
            }
            collateral.qe_identity =
                tdx::authenticate_qe_identity(statement(qe_identity), known, verifier, last);
        }
        status = tdx::appraise(*authentic, collateral, policy, at, last);
        return reasons(last);
    }
    Findings last;
    std::optional<tdx::TcbStatus> status;

private:
    [[nodiscard]] Buffer certification_data() const {
        Buffer report = enclave;
        Sha256 hash;
        hash.update(bound_key->point());
        hash.update(authentication_data);
        std::ranges::copy(hash.finish(), report.begin() + 320);
        Buffer out = report;
        append(out, enclave_signer->sign(EVP_sha256(), report));
        append16(out, authentication_data.size());
        append(out, authentication_data);
        const std::vector chain{pck(), platform(), root()};
        const Buffer text = buffer(pem(chain));
        append16(out, 5);
        append32(out, text.size());
        append(out, text);
        return out;
    }
};

}  // namespace holdfast::attest::test
