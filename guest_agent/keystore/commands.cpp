// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/keystore/commands.hpp"

#include <algorithm>

#include "vtpm/tpm2/codec.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::agent::keystore {
namespace {

using tpm2::Reader;
using tpm2::Writer;

enum class Code : std::uint32_t {  // Part 2 §6.5.2
    NV_DefineSpace = 0x12a,
    CreatePrimary = 0x131,
    NV_Increment = 0x134,
    PolicyNV = 0x149,
    NV_Read = 0x14e,
    Create = 0x153,
    Load = 0x157,
    Unseal = 0x15e,
    FlushContext = 0x165,
    NV_ReadPublic = 0x169,
    StartAuthSession = 0x176,
    PolicyPCR = 0x17f,
    PolicyGetDigest = 0x189,
};

constexpr std::uint32_t kOwner = 0x40000001;     // TPM_RH_OWNER
constexpr std::uint32_t kNull = 0x40000007;      // TPM_RH_NULL
constexpr std::uint32_t kPassword = 0x40000009;  // TPM_RS_PW
constexpr std::uint16_t kSha256 = 0x000b;
constexpr std::uint16_t kAlgNull = 0x0010;
constexpr std::uint16_t kKeyedHash = 0x0008;
constexpr std::uint16_t kEcc = 0x0023;
constexpr std::uint16_t kAes = 0x0006;
constexpr std::uint16_t kCfb = 0x0043;
constexpr std::uint16_t kP256 = 0x0003;
// TPMA_OBJECT (Part 2 §8.3): fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted,
// decrypt.
constexpr std::uint32_t kStorage = 0x00030472;
// fixedTPM, fixedParent, noDA; without userWithAuth, so that the policy is the only way.
constexpr std::uint32_t kSealedData = 0x00000412;
// TPMA_NV (§13.4): TPM_NT_COUNTER, AUTHWRITE, AUTHREAD, NO_DA.
constexpr std::uint32_t kCounter = 0x02040014;
constexpr std::uint16_t kCounterBytes = 8;
constexpr std::uint16_t kEqual = 0;  // TPM_EO_EQ

// Codes of failure that mean something to people; the rest of them has an index of parameter or session.
constexpr std::uint32_t kPolicyFail = 0x99d;  // TPM_RC_POLICY_FAIL, session 1
constexpr std::uint32_t kPcrChanged = 0x128;
constexpr std::uint32_t kPolicy = 0x126;
constexpr std::uint32_t kHandle = 0x18b;  // TPM_RC_HANDLE, handle 1

std::vector<std::byte> message(bool has_sessions, Code code, Writer& body) {
    Writer whole;
    whole.put(static_cast<std::uint16_t>(has_sessions ? tpm2::St::SESSIONS : tpm2::St::NO_SESSIONS));
    const auto bytes = body.take();
    whole.put(static_cast<std::uint32_t>(tpm2::kHeaderBytes + bytes.size()));
    whole.put(static_cast<std::uint32_t>(code));
    whole.put_raw(bytes);
    return whole.take();
}

void put_sized(Writer& writer, std::span<const std::byte> bytes) {
    writer.put(static_cast<std::uint16_t>(bytes.size()));
    writer.put_raw(bytes);
}

/// One authorisation: an empty password, or a policy session that continues.
void put_authorisation(Writer& writer, std::uint32_t session) {
    writer.put(std::uint32_t{9});
    writer.put(session);
    writer.put(std::uint16_t{0});                                         // nonce
    writer.put(static_cast<std::uint8_t>(session == kPassword ? 0 : 1));  // continueSession
    writer.put(std::uint16_t{0});                                         // password
}

void put_pcrs(Writer& writer, std::uint32_t pcrs) {
    writer.put(std::uint32_t{1});
    writer.put(kSha256);
    writer.put(std::uint8_t{3});
    for (unsigned byte = 0; byte < 3; ++byte) writer.put(static_cast<std::uint8_t>(pcrs >> (8 * byte)));
}

/// The parameters of an answer with sessions: a size in front, and authorisations behind.
Result<std::vector<std::byte>> parameters(std::span<const std::byte> body) {
    Reader reader{body};
    const auto size = HF_TRY(reader.get<std::uint32_t>());
    const auto raw = HF_TRY(reader.get_raw(size));
    return std::vector<std::byte>{raw.begin(), raw.end()};
}

Result<std::vector<std::byte>> whole_sized(Reader& reader) {
    const auto bytes = HF_TRY(reader.get_sized());
    Writer writer;
    put_sized(writer, bytes);
    return writer.take();
}

}  // namespace

Session::~Session() {
    for (const std::uint32_t handle : loaded_) {
        Writer body;
        body.put(handle);
        std::ignore = run_(message(false, Code::FlushContext, body));
    }
}

Result<std::vector<std::byte>> Session::run(std::vector<std::byte> command, const char* what) {
    const auto answer = HF_TRY(run_(std::move(command)));
    const auto response = HF_TRY(tpm2::parse_response(answer));
    switch (response.code) {
        case tpm2::rc::SUCCESS: return std::vector<std::byte>{response.body.begin(), response.body.end()};
        case kPolicyFail:
        case kPcrChanged:
            return input_error("the TPM's policy does not hold: other software was booted (PCRs)");
        case kPolicy: return input_error("the TPM's policy does not hold: the counter has another value");
        case kHandle: return input_error("the TPM has no such object or index");
        default: return peer_fault(what);
    }
}

Result<std::uint32_t> Session::storage_key() {
    Writer area;
    area.put(kEcc);
    area.put(kSha256);
    area.put(kStorage);
    area.put(std::uint16_t{0});  // no policy
    area.put(kAes);
    area.put(std::uint16_t{128});
    area.put(kCfb);
    area.put(kAlgNull);  // scheme
    area.put(kP256);
    area.put(kAlgNull);          // KDF
    area.put(std::uint16_t{0});  // x
    area.put(std::uint16_t{0});  // y
    Writer body;
    body.put(kOwner);
    put_authorisation(body, kPassword);
    body.put(std::uint16_t{4});  // TPM2B_SENSITIVE_CREATE: no password, no data
    body.put(std::uint32_t{0});
    put_sized(body, area.take());
    body.put(std::uint16_t{0});  // outsideInfo
    body.put(std::uint32_t{0});  // creationPCR
    const auto answer = HF_TRY(run(message(true, Code::CreatePrimary, body), "the TPM makes no storage key"));
    Reader reader{answer};
    loaded_.push_back(HF_TRY(reader.get<std::uint32_t>()));
    return loaded_.back();
}

Result<std::uint32_t> Session::start(Kind kind) {
    std::array<std::byte, 16> nonce{};
    fill_random(nonce);
    Writer body;
    body.put(kNull);
    body.put(kNull);
    put_sized(body, nonce);
    body.put(std::uint16_t{0});  // no salt
    body.put(static_cast<std::uint8_t>(kind));
    body.put(kAlgNull);
    body.put(kSha256);
    const auto answer =
        HF_TRY(run(message(false, Code::StartAuthSession, body), "the TPM starts no session"));
    Reader reader{answer};
    loaded_.push_back(HF_TRY(reader.get<std::uint32_t>()));
    return loaded_.back();
}

Result<void> Session::policy_pcr(std::uint32_t session, std::uint32_t pcrs) {
    Writer body;
    body.put(session);
    body.put(std::uint16_t{0});  // whatever the PCRs are now
    put_pcrs(body, pcrs);
    HF_TRY(run(message(false, Code::PolicyPCR, body), "the TPM takes no policy of PCRs"));
    return {};
}

Result<void> Session::policy_counter(std::uint32_t session, std::uint32_t index, std::uint64_t value) {
    Writer body;
    body.put(index);  // its own password, which is empty
    body.put(index);
    body.put(session);
    put_authorisation(body, kPassword);
    const Be<std::uint64_t> operand{value};
    put_sized(body, std::as_bytes(std::span{&operand, 1}));
    body.put(std::uint16_t{0});
    body.put(kEqual);
    HF_TRY(run(message(true, Code::PolicyNV, body), "the TPM takes no policy of a counter"));
    return {};
}

Result<Digest256> Session::policy_digest(std::uint32_t session) {
    Writer body;
    body.put(session);
    const auto answer = HF_TRY(run(message(false, Code::PolicyGetDigest, body), "the TPM tells no policy"));
    Reader reader{answer};
    const auto bytes = HF_TRY(reader.get_sized());
    Digest256 digest{};
    if (bytes.size() != digest.size()) return peer_fault("a policy of another hash");
    std::ranges::copy(bytes, digest.begin());
    return digest;
}

Result<Sealed> Session::seal(std::uint32_t parent, const Digest256& policy, Bytes secret) {
    Writer area;
    area.put(kKeyedHash);
    area.put(kSha256);
    area.put(kSealedData);
    put_sized(area, policy);
    area.put(kAlgNull);          // scheme
    area.put(std::uint16_t{0});  // unique
    Writer body;
    body.put(parent);
    put_authorisation(body, kPassword);
    body.put(static_cast<std::uint16_t>(4 + secret.size()));  // TPM2B_SENSITIVE_CREATE
    body.put(std::uint16_t{0});
    put_sized(body, secret);
    put_sized(body, area.take());
    body.put(std::uint16_t{0});
    body.put(std::uint32_t{0});
    const auto answer = HF_TRY(run(message(true, Code::Create, body), "the TPM seals nothing"));
    const auto out = HF_TRY(parameters(answer));
    Reader reader{out};
    Sealed sealed;
    sealed.private_area = HF_TRY(whole_sized(reader));
    sealed.public_area = HF_TRY(whole_sized(reader));
    return sealed;
}

Result<std::uint32_t> Session::load(std::uint32_t parent, const Sealed& sealed) {
    Writer body;
    body.put(parent);
    put_authorisation(body, kPassword);
    body.put_raw(sealed.private_area);
    body.put_raw(sealed.public_area);
    const auto answer = HF_TRY(
        run(message(true, Code::Load, body), "what was sealed was changed, or another TPM has sealed it"));
    Reader reader{answer};
    loaded_.push_back(HF_TRY(reader.get<std::uint32_t>()));
    return loaded_.back();
}

Result<SecretBuffer> Session::unseal(std::uint32_t object, std::uint32_t session) {
    Writer body;
    body.put(object);
    put_authorisation(body, session);
    auto answer = HF_TRY(run(message(true, Code::Unseal, body), "the TPM unseals nothing"));
    auto out = HF_TRY(parameters(answer));
    Reader reader{out};
    const auto secret = HF_TRY(reader.get_sized());
    SecretBuffer plain{secret.size()};
    std::ranges::copy(secret, plain.bytes().begin());
    wipe(out);
    wipe(answer);
    return plain;
}

Result<bool> Session::has_counter(std::uint32_t index) {
    Writer body;
    body.put(index);
    const auto answer = HF_TRY(run_(message(false, Code::NV_ReadPublic, body)));
    const auto response = HF_TRY(tpm2::parse_response(answer));
    if (response.code == kHandle) return false;
    if (response.code != tpm2::rc::SUCCESS) return peer_fault("the TPM tells nothing of its counter");
    return true;
}

Result<void> Session::define_counter(std::uint32_t index) {
    Writer area;
    area.put(index);
    area.put(kSha256);
    area.put(kCounter);
    area.put(std::uint16_t{0});  // no policy
    area.put(kCounterBytes);
    Writer body;
    body.put(kOwner);
    put_authorisation(body, kPassword);
    body.put(std::uint16_t{0});  // no password of its own
    put_sized(body, area.take());
    HF_TRY(run(message(true, Code::NV_DefineSpace, body), "the TPM makes no counter"));
    return {};
}

Result<void> Session::increment(std::uint32_t index) {
    Writer body;
    body.put(index);
    body.put(index);
    put_authorisation(body, kPassword);
    HF_TRY(run(message(true, Code::NV_Increment, body), "the TPM does not count"));
    return {};
}

Result<std::uint64_t> Session::read_counter(std::uint32_t index) {
    Writer body;
    body.put(index);
    body.put(index);
    put_authorisation(body, kPassword);
    body.put(kCounterBytes);
    body.put(std::uint16_t{0});
    const auto answer = HF_TRY(run(message(true, Code::NV_Read, body), "the TPM does not tell its count"));
    const auto out = HF_TRY(parameters(answer));
    Reader reader{out};
    const auto bytes = HF_TRY(reader.get_sized());
    Reader number{bytes};
    return number.get<std::uint64_t>();
}

}  // namespace holdfast::agent::keystore
