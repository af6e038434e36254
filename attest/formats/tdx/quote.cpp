// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tdx/quote.hpp"

#include <cstring>

#include "sys/wire/endian.hpp"

namespace holdfast::attest {

template <>
struct Voucher<tdx::Quote, Stage::Parse> {
    static Parsed<tdx::Quote> grant(const tdx::Quote& quote) { return Parsed<tdx::Quote>{quote}; }
};

}  // namespace holdfast::attest

namespace holdfast::attest::tdx {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::size_t kEnclaveReportSize = 384;
constexpr std::size_t kTdReportSize = 584;
constexpr std::size_t kTd15ReportSize = 648;
constexpr std::size_t kSignatureSize = 64;

enum class BodyType : std::uint16_t { Sgx = 1, Td10 = 2, Td15 = 3 };
// Types of certification data: how the signer of the QE's report is told.
constexpr std::uint16_t kPckChain = 5;
constexpr std::uint16_t kQeReport = 6;  // the QE's report itself, with certification data of its own

/// Reads from a span that it does not own; what is not there whole is an Input error.
class Reader {
public:
    explicit Reader(Bytes bytes) noexcept : rest_{bytes} {}
    template <std::unsigned_integral T>
    Result<T> get() {
        const auto raw = HF_TRY(take(sizeof(T)));
        Le<T> ordered;
        std::memcpy(&ordered, raw.data(), sizeof ordered);
        return ordered.get();
    }
    Result<Bytes> take(std::size_t size) {
        if (size > rest_.size()) return input_error("a quote that ends too early");
        const auto taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    [[nodiscard]] Bytes rest() const noexcept { return rest_; }

private:
    Bytes rest_;
};

template <std::unsigned_integral T>
T number_at(Bytes bytes, std::size_t offset) noexcept {
    Le<T> ordered;
    std::memcpy(&ordered, bytes.subspan(offset, sizeof ordered).data(), sizeof ordered);
    return ordered.get();
}

/// `raw` has the size of one.
EnclaveReport enclave_report_of(Bytes raw) noexcept {
    return {.misc_select = raw.subspan(16, 4),
            .attributes = raw.subspan(48, 16),
            .mr_enclave = raw.subspan(64, 32),
            .mr_signer = raw.subspan(128, 32),
            .isv_prod_id = number_at<std::uint16_t>(raw, 256),
            .isv_svn = number_at<std::uint16_t>(raw, 258),
            .report_data = raw.subspan(320, 64),
            .raw = raw};
}

Result<void> read_body(Reader& reader, BodyType type, Quote& quote) {
    switch (type) {
        case BodyType::Sgx: {
            quote.body = enclave_report_of(HF_TRY(reader.take(kEnclaveReportSize)));
            return {};
        }
        case BodyType::Td10:
        case BodyType::Td15: {
            const auto raw = HF_TRY(reader.take(type == BodyType::Td10 ? kTdReportSize : kTd15ReportSize));
            quote.body = HF_TRY(parse_td_report(raw));
            return {};
        }
    }
    return input_error("a quote with a body of a type that is not read");
}

Result<BodyType> body_type_of(Reader& reader, const Quote& quote) {
    if (quote.version < 5) {
        if (quote.tee_type == kTeeSgx) return BodyType::Sgx;
        return BodyType::Td10;
    }
    const auto type = BodyType{HF_TRY(reader.get<std::uint16_t>())};
    const auto size = HF_TRY(reader.get<std::uint32_t>());
    const std::size_t expected = type == BodyType::Sgx    ? kEnclaveReportSize
                                 : type == BodyType::Td10 ? kTdReportSize
                                                          : kTd15ReportSize;
    if (size != expected) return input_error("a quote with a body of a size that does not fit its type");
    if ((type == BodyType::Sgx) != (quote.tee_type == kTeeSgx)) {
        return input_error("a quote whose body is not of its TEE type");
    }
    return type;
}

Result<void> read_header(Reader& reader, Quote& quote) {
    quote.version = HF_TRY(reader.get<std::uint16_t>());
    if (quote.version < 3 || quote.version > 5)
        return input_error("a quote of a version that is not read (3 to 5 are)");
    quote.key_type = HF_TRY(reader.get<std::uint16_t>());
    quote.tee_type = HF_TRY(reader.get<std::uint32_t>());  // reserved in version 3, which SGX alone has
    if (quote.tee_type != kTeeSgx && (quote.tee_type != kTeeTdx || quote.version == 3)) {
        return input_error("a quote of a TEE type that is not read");
    }
    HF_TRY(reader.get<std::uint32_t>());
    quote.vendor = HF_TRY(reader.take(16));
    quote.user_data = HF_TRY(reader.take(20));
    return {};
}

/// The report of the quoting enclave, signed by the key that the PCK certificate is of.
Result<void> read_certification(Reader& reader, Quote& quote) {
    quote.quoting_enclave = enclave_report_of(HF_TRY(reader.take(kEnclaveReportSize)));
    quote.quoting_enclave_signature = HF_TRY(reader.take(kSignatureSize));
    const auto data_size = HF_TRY(reader.get<std::uint16_t>());
    quote.authentication_data = HF_TRY(reader.take(data_size));
    if (HF_TRY(reader.get<std::uint16_t>()) != kPckChain) {
        return input_error("a quote that does not come with its PCK certificate");
    }
    const auto chain_size = HF_TRY(reader.get<std::uint32_t>());
    quote.pck_chain = HF_TRY(reader.take(chain_size));
    if (!reader.rest().empty()) return input_error("a quote with bytes that belong to nothing");
    return {};
}

Result<void> read_signature(Reader reader, Quote& quote) {
    quote.signature = HF_TRY(reader.take(kSignatureSize));
    quote.attestation_key = HF_TRY(reader.take(kSignatureSize));
    if (quote.version == 3) return read_certification(reader, quote);
    if (HF_TRY(reader.get<std::uint16_t>()) != kQeReport) {
        return input_error("a quote that does not come with the report of its quoting enclave");
    }
    const auto size = HF_TRY(reader.get<std::uint32_t>());
    Reader inner{HF_TRY(reader.take(size))};
    if (!reader.rest().empty()) return input_error("a quote with bytes that belong to nothing");
    return read_certification(inner, quote);
}

}  // namespace

std::uint64_t TdReport::attribute_bits() const noexcept { return number_at<std::uint64_t>(td_attributes, 0); }
std::uint64_t TdReport::xfam_bits() const noexcept { return number_at<std::uint64_t>(xfam, 0); }

Result<TdReport> parse_td_report(Bytes bytes) {
    if (bytes.size() != kTdReportSize && bytes.size() != kTd15ReportSize) {
        return input_error("a TD report of neither 584 nor 648 bytes");
    }
    TdReport report;
    report.tee_tcb_svn = bytes.subspan(0, 16);
    report.mr_seam = bytes.subspan(16, 48);
    report.mr_signer_seam = bytes.subspan(64, 48);
    report.seam_attributes = bytes.subspan(112, 8);
    report.td_attributes = bytes.subspan(120, 8);
    report.xfam = bytes.subspan(128, 8);
    report.mrtd = bytes.subspan(136, 48);
    report.mr_config_id = bytes.subspan(184, 48);
    report.mr_owner = bytes.subspan(232, 48);
    report.mr_owner_config = bytes.subspan(280, 48);
    for (std::size_t i = 0; i < report.rtmr.size(); ++i) report.rtmr[i] = bytes.subspan(328 + 48 * i, 48);
    report.report_data = bytes.subspan(520, 64);
    if (bytes.size() == kTd15ReportSize) {
        report.tee_tcb_svn2 = bytes.subspan(584, 16);
        report.mr_service_td = bytes.subspan(600, 48);
    }
    return report;
}

Result<Parsed<Quote>> parse_quote(Bytes bytes) {
    Reader reader{bytes};
    Quote quote;
    HF_TRY(read_header(reader, quote));
    const BodyType type = HF_TRY(body_type_of(reader, quote));
    HF_TRY(read_body(reader, type, quote));
    quote.signed_part = bytes.first(bytes.size() - reader.rest().size());
    const auto size = HF_TRY(reader.get<std::uint32_t>());
    const auto signature_data = HF_TRY(reader.take(size));
    HF_TRY(read_signature(Reader{signature_data}, quote));
    quote.trailing = reader.rest().size();
    return Voucher<Quote, Stage::Parse>::grant(quote);
}

}  // namespace holdfast::attest::tdx
