// SPDX-License-Identifier: Apache-2.0
#include "vtpm/quote.hpp"

#include <algorithm>

#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"
#include "vtpm/tpm2/attestation.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::vtpm {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint32_t kQuotedPcrs = 0xffff;  // 16 and 23 are anybody's, 17-22 a dynamic launch's
constexpr std::uint16_t kNvChunk = 512;
constexpr std::size_t kMaxCertificate = 8192;
constexpr std::size_t kMaxAnswer = 48U << 10;
constexpr std::size_t kMaxBanks = 8;

// What its guest can do to a quote, in words of its own.
constexpr std::uint32_t RC_BAD_AUTH = 0x9a2;  // session 1
constexpr std::uint32_t RC_OBJECT_MEMORY = 0x902;

Result<tpm2::Response> success(std::span<const std::byte> message, const char* what) {
    const tpm2::Response response = HF_TRY(tpm2::parse_response(message));
    switch (response.code) {
        case tpm2::rc::SUCCESS: return response;
        case tpm2::rc::INITIALIZE: return guest_fault("the vTPM was not started");
        case RC_BAD_AUTH: return guest_fault("the guest has put a password on the endorsement hierarchy");
        case RC_OBJECT_MEMORY: return guest_fault("the guest has filled the vTPM with keys: try again");
        default: return guest_fault(what);
    }
}

class Session {
public:
    explicit Session(const RunCommand& run) noexcept : run_{run} {}
    ~Session() {
        if (!key_) return;
        auto command = tpm2::flush_context(*key_);
        run_(command);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    Result<std::vector<std::byte>> make_key() {
        auto command = tpm2::create_primary(tpm2::rh::ENDORSEMENT, tpm2::ak_template());
        const auto message = run_(command);
        const auto response = HF_TRY(success(message, "the vTPM does not make its attestation key"));
        auto primary = HF_TRY(tpm2::parse_create_primary(response.body));
        key_ = primary.handle;
        tpm2::Writer sized;
        sized.put(static_cast<std::uint16_t>(primary.public_area.size()));
        sized.put_raw(primary.public_area);
        return sized.take();
    }
    Result<std::vector<tpm2::PcrBank>> banks() {
        auto command = tpm2::get_pcr_banks();
        const auto message = run_(command);
        const auto response = HF_TRY(success(message, "the vTPM does not name its banks"));
        auto banks = HF_TRY(tpm2::parse_pcr_banks(response.body));
        for (tpm2::PcrBank& bank : banks) bank.pcrs &= kQuotedPcrs;
        std::erase_if(banks, [](const tpm2::PcrBank& bank) { return bank.pcrs == 0; });
        if (banks.size() > kMaxBanks) return guest_fault("the vTPM has too many banks");
        return banks;
    }
    Result<QuotedPcrs> values(const tpm2::PcrBank& bank) {
        QuotedPcrs quoted{.alg = bank.alg, .pcrs = bank.pcrs, .values = {}};
        for (std::uint32_t left = bank.pcrs; left != 0;) {
            const std::array one{tpm2::PcrBank{.alg = bank.alg, .pcrs = left}};
            auto command = tpm2::pcr_read(one);
            const auto message = run_(command);
            const auto response = HF_TRY(success(message, "the vTPM does not read its PCRs"));
            const auto read = HF_TRY(tpm2::parse_pcr_read(response.body));
            const std::uint32_t got = read.selection.size() == 1 ? read.selection.front().pcrs & left : 0;
            if (got == 0) return guest_fault("the vTPM does not give a PCR");
            for (const auto& value : read.digests)
                quoted.values.insert(quoted.values.end(), value.begin(), value.end());
            left &= ~got;
        }
        return quoted;
    }
    Result<tpm2::Quoted> quote(std::span<const std::byte> nonce, std::span<const tpm2::PcrBank> banks) {
        auto command = tpm2::quote(*key_, nonce, banks);
        const auto message = run_(command);
        const auto response = HF_TRY(success(message, "the vTPM does not quote"));
        return tpm2::parse_quote(response.body);
    }
    /// Empty: there is no such index.
    Result<std::vector<std::byte>> read_nv(std::uint32_t index) {
        auto ask = tpm2::nv_read_public(index);
        const auto area = run_(ask);
        const tpm2::Response found = HF_TRY(tpm2::parse_response(area));
        if (found.code != tpm2::rc::SUCCESS) return std::vector<std::byte>{};
        const std::size_t size = HF_TRY(tpm2::parse_nv_read_public(found.body));
        std::vector<std::byte> all;
        while (all.size() < std::min(size, kMaxCertificate)) {
            auto command =
                tpm2::nv_read(index, static_cast<std::uint16_t>(all.size()),
                              static_cast<std::uint16_t>(std::min<std::size_t>(kNvChunk, size - all.size())));
            const auto message = run_(command);
            const auto response = HF_TRY(success(message, "the vTPM does not give a certificate"));
            const auto part = HF_TRY(tpm2::parse_nv_read(response.body));
            if (part.empty()) return guest_fault("the vTPM does not give a certificate");
            all.insert(all.end(), part.begin(), part.end());
        }
        return all;
    }

private:
    const RunCommand& run_;
    std::optional<std::uint32_t> key_;
};

}  // namespace

Result<OwnQuote> quote_itself(std::span<const std::byte> qualifying, const RunCommand& run) {
    Session session{run};
    OwnQuote own;
    own.key = HF_TRY(session.make_key());
    const auto banks = HF_TRY(session.banks());
    for (const tpm2::PcrBank& bank : banks) own.banks.push_back(HF_TRY(session.values(bank)));
    auto quoted = HF_TRY(session.quote(qualifying, banks));
    own.attest = std::move(quoted.attest);
    own.signature = std::move(quoted.signature);
    own.ak_certificate = HF_TRY(session.read_nv(tpm2::kAkCertificate));
    own.ek_certificate = HF_TRY(session.read_nv(tpm2::kEkCertificate));
    return own;
}

// ---- the socket

Result<std::vector<std::byte>> decode_quote_request(std::span<const std::byte> message) {
    WireReader reader{message};
    if (HF_TRY(reader.get<std::uint8_t>()) != kVersion)
        return peer_fault("request for a quote of another version");
    const auto nonce = HF_TRY(reader.get_bytes());
    HF_TRY(reader.expect_end());
    if (nonce.empty() || nonce.size() > kMaxQuoteNonce) return peer_fault("nonce of another size");
    return std::vector<std::byte>{nonce.begin(), nonce.end()};
}

std::vector<std::byte> encode_quote_answer(const Result<OwnQuote>& quote) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(quote.has_value()));
    if (quote) {
        for (const auto* const field :
             {&quote->attest, &quote->signature, &quote->key, &quote->ak_certificate, &quote->ek_certificate})
            writer.put_bytes(*field);
        writer.put(static_cast<std::uint8_t>(quote->banks.size()));
        for (const QuotedPcrs& bank : quote->banks) {
            writer.put(bank.alg);
            writer.put(bank.pcrs);
            writer.put_bytes(bank.values);
        }
    } else {
        writer.put_string(quote.error().what);
    }
    return {writer.bytes().begin(), writer.bytes().end()};
}

Result<QuoteAnswer> decode_quote_answer(std::span<const std::byte> message) {
    WireReader reader{message};
    if (HF_TRY(reader.get<std::uint8_t>()) != 1) {
        QuoteAnswer refused{.quote = std::nullopt, .refusal = HF_TRY(reader.get_string())};
        HF_TRY(reader.expect_end());
        return refused;
    }
    OwnQuote own;
    for (auto* const field :
         {&own.attest, &own.signature, &own.key, &own.ak_certificate, &own.ek_certificate}) {
        const auto bytes = HF_TRY(reader.get_bytes());
        field->assign(bytes.begin(), bytes.end());
    }
    const auto banks = HF_TRY(reader.get<std::uint8_t>());
    if (banks > kMaxBanks) return peer_fault("the vTPM has too many banks");
    for (std::uint8_t i = 0; i < banks; ++i) {
        QuotedPcrs& bank = own.banks.emplace_back();
        bank.alg = HF_TRY(reader.get<std::uint16_t>());
        bank.pcrs = HF_TRY(reader.get<std::uint32_t>());
        const auto values = HF_TRY(reader.get_bytes());
        bank.values.assign(values.begin(), values.end());
    }
    HF_TRY(reader.expect_end());
    return QuoteAnswer{.quote = std::move(own), .refusal = {}};
}

Result<QuoteAnswer> ask_for_quote(const UniqueFd& socket, std::span<const std::byte> nonce) {
    WireWriter writer;
    writer.put(kVersion);
    writer.put_bytes(nonce);
    HF_TRY(send_message(socket, writer.bytes()));
    const Message answer = HF_TRY(receive_message(socket, kMaxAnswer));
    if (answer.bytes.empty()) return peer_fault("the vTPM has hung up");
    return decode_quote_answer(answer.bytes);
}

}  // namespace holdfast::vtpm
