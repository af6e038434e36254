// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/evidence.hpp"

#include <chrono>

#include "attest/evidence/evidence.hpp"
#include "guest_agent/agent/tpm_device.hpp"
#include "guest_agent/agent/vsock.hpp"
#include "guest_agent/call/client.hpp"
#include "guest_agent/call/services.hpp"

namespace holdfast::agent {
namespace {

constexpr std::chrono::seconds kPatience{60};  // the host's TPM quotes, for all its VMs in turn

std::vector<std::byte> encoded(const vtpm::OwnQuote& own) {
    attest::VtpmPart part;
    part.quote.attest = own.attest;
    part.quote.signature = own.signature;
    part.quote.key = own.key;
    for (const vtpm::QuotedPcrs& bank : own.banks) {
        part.quote.pcrs.push_back(attest::tpm::given_pcrs(bank.alg, bank.pcrs, bank.values));
    }
    return encode(part);
}

}  // namespace

Result<vtpm::OwnQuote> quote_own(const Digest256& nonce) {
    const auto tpm = HF_TRY(open_tpm());
    return vtpm::quote_itself(nonce, [&tpm](std::span<std::byte> command) {
        auto answer = tpm({command.begin(), command.end()});
        // No answer at all is not one of a TPM, and is refused as such.
        return answer ? std::move(*answer) : std::vector<std::byte>{};
    });
}

Result<std::vector<std::byte>> make_evidence(const Digest256& nonce) {
    const vtpm::OwnQuote own = HF_TRY(quote_own(nonce));
    const auto ask = call::encode(call::EvidenceAsk{.nonce = nonce, .quote = encoded(own)});
    call::Client host{HF_TRY(connect_host(call::kHostPort))};
    const auto evidence =
        HF_TRY(host.call(call::host_service::kNumber, call::host_service::kEvidence, ask, kPatience));
    return std::vector<std::byte>{evidence.bytes().begin(), evidence.bytes().end()};
}

}  // namespace holdfast::agent
