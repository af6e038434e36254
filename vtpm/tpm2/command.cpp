// SPDX-License-Identifier: Apache-2.0
#include "vtpm/tpm2/command.hpp"

#include "vtpm/tpm2/builder.hpp"

namespace holdfast::tpm2 {
Message startup(Su type) {
    return Command{St::NO_SESSIONS, Cc::Startup}.put(static_cast<std::uint16_t>(type)).finish();
}

Message shutdown(Su type) {
    return Command{St::NO_SESSIONS, Cc::Shutdown}.put(static_cast<std::uint16_t>(type)).finish();
}

Message self_test() { return Command{St::NO_SESSIONS, Cc::SelfTest}.put(std::uint8_t{0}).finish(); }

Message get_untested() {
    return Command{St::NO_SESSIONS, Cc::IncrementalSelfTest}.put(std::uint32_t{0}).finish();
}

Message get_pcr_banks() {
    return Command{St::NO_SESSIONS, Cc::GetCapability}
        .put(static_cast<std::uint32_t>(Cap::PCRS))
        .put(std::uint32_t{0})
        .put(std::uint32_t{1})
        .finish();
}

Message pcr_extend(std::uint32_t pcr, std::span<const Digest> digests) {
    Command command{St::SESSIONS, Cc::PCR_Extend};
    command.put(pcr).put_empty_password().put(static_cast<std::uint32_t>(digests.size()));
    for (const Digest& digest : digests) {
        command.put(static_cast<std::uint16_t>(digest.alg)).put_raw(digest.bytes());
    }
    return command.finish();
}

Message pcr_read(std::span<const PcrBank> selection) {
    return Command{St::NO_SESSIONS, Cc::PCR_Read}.put_selection(selection).finish();
}

Message pcr_allocate(std::span<const PcrBank> banks) {
    return Command{St::SESSIONS, Cc::PCR_Allocate}
        .put(rh::PLATFORM)
        .put_empty_password()
        .put_selection(banks)
        .finish();
}

Message disable_platform_hierarchy() {
    return Command{St::SESSIONS, Cc::HierarchyControl}
        .put(rh::PLATFORM)
        .put_empty_password()
        .put(rh::PLATFORM)
        .put(std::uint8_t{0})
        .finish();
}

Message bare_response(std::uint32_t code) {
    Writer writer;
    writer.put(static_cast<std::uint16_t>(St::NO_SESSIONS));
    writer.put(static_cast<std::uint32_t>(kHeaderBytes));
    writer.put(code);
    return writer.take();
}

Result<Header> parse_header(std::span<const std::byte> message) {
    Reader reader{message};
    return Header{.tag = HF_TRY(reader.get<std::uint16_t>()),
                  .size = HF_TRY(reader.get<std::uint32_t>()),
                  .code = HF_TRY(reader.get<std::uint32_t>())};
}

Result<Response> parse_response(std::span<const std::byte> message) {
    const Header header = HF_TRY(parse_header(message));
    if (header.size != message.size()) return peer_fault("TPM response has another size than it says");
    const auto tag = static_cast<St>(header.tag);
    if (tag != St::NO_SESSIONS && tag != St::SESSIONS) return peer_fault("TPM response has an unknown tag");
    const auto body = message.subspan(kHeaderBytes);
    if (header.code != rc::SUCCESS && !body.empty()) return peer_fault("TPM failure has a body");
    return Response{.code = header.code, .tag = tag, .body = body};
}

Result<Response> expect_success(std::span<const std::byte> message, const char* what) {
    const Response response = HF_TRY(parse_response(message));
    if (response.code != rc::SUCCESS) return peer_fault(what);
    return response;
}

Result<std::vector<PcrBank>> read_pcr_selection(Reader& reader) {
    const auto count = HF_TRY(reader.get<std::uint32_t>());
    if (count > kMaxBanks) return peer_fault("TPM has too many PCR banks");
    std::vector<PcrBank> banks;
    for (std::uint32_t i = 0; i < count; ++i) {
        PcrBank bank{.alg = HF_TRY(reader.get<std::uint16_t>())};
        const auto octets = HF_TRY(reader.get<std::uint8_t>());
        const auto select = HF_TRY(reader.get_raw(octets));
        if (octets > sizeof bank.pcrs) return peer_fault("TPM has more PCRs than a PC");
        for (unsigned byte = 0; byte < octets; ++byte) {
            bank.pcrs |= std::to_integer<std::uint32_t>(select[byte]) << (8 * byte);
        }
        banks.push_back(bank);
    }
    return banks;
}

Result<std::vector<PcrBank>> parse_pcr_banks(std::span<const std::byte> body) {
    Reader reader{body};
    [[maybe_unused]] const auto more = HF_TRY(reader.get<std::uint8_t>());
    if (HF_TRY(reader.get<std::uint32_t>()) != static_cast<std::uint32_t>(Cap::PCRS)) {
        return peer_fault("TPM answers another capability than was asked");
    }
    auto banks = HF_TRY(read_pcr_selection(reader));
    HF_TRY(reader.expect_end());
    return banks;
}

Result<bool> parse_pcr_allocate(const Response& response) {
    Reader reader{response.body};
    if (response.tag == St::SESSIONS) HF_TRY(reader.get<std::uint32_t>());  // size of the parameters
    return HF_TRY(reader.get<std::uint8_t>()) == 1;
}

Result<PcrValues> parse_pcr_read(std::span<const std::byte> body) {
    constexpr std::uint32_t kMostDigests = 8;  // TPML_DIGEST, Part 2 §10.9.4
    Reader reader{body};
    [[maybe_unused]] const auto update_counter = HF_TRY(reader.get<std::uint32_t>());
    PcrValues values;
    values.selection = HF_TRY(read_pcr_selection(reader));
    const auto count = HF_TRY(reader.get<std::uint32_t>());
    if (count > kMostDigests) return peer_fault("TPM returns too many PCR values");
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto digest = HF_TRY(reader.get_sized());
        values.digests.emplace_back(digest.begin(), digest.end());
    }
    HF_TRY(reader.expect_end());
    return values;
}

}  // namespace holdfast::tpm2
