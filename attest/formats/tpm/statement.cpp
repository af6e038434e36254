// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tpm/statement.hpp"

#include "attest/formats/tpm/spec.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest {

template <>
struct Voucher<tpm::Attest, Stage::Parse> {
    static Parsed<tpm::Attest> grant(tpm::Attest attest) { return Parsed<tpm::Attest>{std::move(attest)}; }
};

namespace tpm {
namespace {

using tpm2::Reader;

Result<bool> read_flag(Reader& reader) {
    const auto value = HF_TRY(reader.get<std::uint8_t>());
    if (value > 1) return peer_fault("TPM statement with a flag that is neither yes nor no");
    return value == 1;
}

Result<QuoteBody> read_quote(Reader& reader) {
    QuoteBody body{.selection = HF_TRY(tpm2::read_pcr_selection(reader)), .pcr_digest = {}};
    body.pcr_digest = HF_TRY(reader.get_sized());
    HF_TRY(reader.expect_end());
    return body;
}

Result<NvBody> read_nv(Reader& reader) {
    NvBody body{.index_name = HF_TRY(reader.get_sized()), .offset = 0, .contents = {}};
    body.offset = HF_TRY(reader.get<std::uint16_t>());
    body.contents = HF_TRY(reader.get_sized());
    HF_TRY(reader.expect_end());
    return body;
}

}  // namespace

Result<Parsed<Attest>> parse_attest(std::span<const std::byte> bytes) {
    Reader reader{bytes};
    Attest attest{.raw = bytes};
    attest.magic = HF_TRY(reader.get<std::uint32_t>());
    attest.type = HF_TRY(reader.get<std::uint16_t>());
    attest.signer = HF_TRY(reader.get_sized());
    attest.extra = HF_TRY(reader.get_sized());
    attest.clock_info.clock = HF_TRY(reader.get<std::uint64_t>());
    attest.clock_info.reset_count = HF_TRY(reader.get<std::uint32_t>());
    attest.clock_info.restart_count = HF_TRY(reader.get<std::uint32_t>());
    attest.clock_info.safe = HF_TRY(read_flag(reader));
    attest.firmware = HF_TRY(reader.get<std::uint64_t>());
    if (attest.type == st::ATTEST_QUOTE) attest.body = HF_TRY(read_quote(reader));
    if (attest.type == st::ATTEST_NV) attest.body = HF_TRY(read_nv(reader));
    return Voucher<Attest, Stage::Parse>::grant(std::move(attest));
}

Result<WireSignature> parse_signature(std::span<const std::byte> bytes) {
    Reader reader{bytes};
    WireSignature signature{.scheme = HF_TRY(reader.get<std::uint16_t>())};
    signature.hash = HF_TRY(reader.get<std::uint16_t>());
    switch (signature.scheme) {
        case alg::RSASSA:
        case alg::RSAPSS: signature.first = HF_TRY(reader.get_sized()); break;
        case alg::ECDSA:
            signature.first = HF_TRY(reader.get_sized());
            signature.second = HF_TRY(reader.get_sized());
            break;
        default: return peer_fault("TPM signature of a scheme that is not verified");
    }
    HF_TRY(reader.expect_end());
    return signature;
}

}  // namespace tpm
}  // namespace holdfast::attest
