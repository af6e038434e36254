// SPDX-License-Identifier: Apache-2.0
#include "cli/attest.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attest/crypto/x509.hpp"
#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "attest/formats/snp/report.hpp"
#include "attest/formats/tdx/quote.hpp"
#include "attest/text/encoding.hpp"
#include "cli/anchor_files.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/state.hpp"
#include "cli/verify.hpp"
#include "cli/vtpm_home.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/protocol.hpp"
#include "vtpm/quote.hpp"

namespace holdfast::cli {
namespace {

// What the kernel kept of the boot: TCG PC Client Platform Firmware Profile, and IMA's list.
constexpr const char* kHostEventLog = "/sys/kernel/security/tpm0/binary_bios_measurements";
constexpr const char* kImaList = "/sys/kernel/security/ima/binary_runtime_measurements";
constexpr std::size_t kMaxLog = 16U << 20;

Blob nonce_of(const std::string& text) {
    auto nonce = attest::bytes_of_hex(text);
    if (nonce && nonce->size() >= attest::kMinNonce && nonce->size() <= attest::kMaxNonce)
        return std::move(*nonce);
    throw Failure{Code::Value, fmt::format("--nonce '{}' cannot be used", printable(text)),
                  nonce ? "it is not of 8 to 64 bytes" : nonce.error().what,
                  "give what the verifier chose, in hexadecimal digits: openssl rand -hex 32"};
}

/// Of our own record, which was hexadecimal when we wrote it.
Blob bytes_of(const std::string& text) { return expect(attest::bytes_of_hex(text)); }

attest::tpm::ReferencePcrs pcrs_of(const PcrTexts& texts) {
    attest::tpm::ReferencePcrs pcrs;
    for (const auto& [bank, values] : texts) {
        const auto alg = attest::hash_of_name(bank);
        if (!alg) continue;
        for (const auto& [pcr, value] : values) {
            const auto digest = attest::digest_from(*alg, bytes_of(value));
            if (digest) pcrs[*alg][static_cast<std::uint32_t>(std::stoul(pcr))] = *digest;
        }
    }
    return pcrs;
}

attest::Certificate ca_of(const VtpmHome& home) {
    const std::string pem = expect(home.authority().certificate_pem());
    auto all = expect(attest::parse_certificates(std::as_bytes(std::span{pem})));
    return std::move(all.front());
}

attest::LaunchStatement statement_of(const Record& record, const std::string& state_dir, Blob nonce) {
    attest::LaunchStatement statement{.at = static_cast<std::uint64_t>(std::time(nullptr)),
                                      .nonce = std::move(nonce),
                                      .name = record.name,
                                      .tier = record.tier,
                                      .digest = bytes_of(record.launch_digest),
                                      .shape = record.shape,
                                      .memory = record.memory_bytes,
                                      .cpus = record.cpus,
                                      .window = record.clear_window_bytes,
                                      .started = static_cast<std::uint64_t>(record.started_at),
                                      .reboots = record.reboots,
                                      .vtpm = {},
                                      .ca = {},
                                      .pcrs = pcrs_of(record.pcrs),
                                      .bundle = std::nullopt};
    if (record.own_vtpm) {
        const VtpmHome home{state_dir};
        const auto id = home.find(record.name).owner.identity.id;
        statement.vtpm.assign(id.begin(), id.end());
        const Digest256 ca = ca_of(home).digest();
        statement.ca.assign(ca.begin(), ca.end());
    }
    if (record.bundle) {
        statement.bundle = attest::BundleClaim{.key = bytes_of(record.bundle->key),
                                               .name = record.bundle->name,
                                               .digest = bytes_of(record.bundle->digest),
                                               .security_version = record.bundle->security_version};
    }
    return statement;
}

template <typename Wanted>
Wanted ask_for(const UniqueFd& anchor, const anchor::Ask& question, const char* what) {
    auto answer = anchor::ask(anchor, question);
    if (!answer) {
        throw Failure{Code::AnchorStopped, fmt::format("this host's anchor does not give {}", what),
                      reason_of(answer.error()), "holdfast anchor status says why"};
    }
    if (auto* const wanted = std::get_if<Wanted>(&*answer)) return std::move(*wanted);
    const auto* const denied = std::get_if<anchor::Denied>(&*answer);
    throw Failure{Code::AnchorDenied, fmt::format("this host's anchor does not give {}", what),
                  denied != nullptr ? anchor::denial_words(denied->why) : "it answers something else",
                  "holdfast anchor status says more"};
}

UniqueFd connect_anchor(const std::string& state_dir) {
    auto anchor = connect_unix(AnchorFiles{state_dir}.socket(), SOCK_SEQPACKET);
    if (anchor) return std::move(*anchor);
    throw Failure{Code::AnchorStopped, "there is no evidence without this host's anchor",
                  reason_of(anchor.error()), "holdfast anchor init makes one, holdfast anchor serve runs it"};
}

/// None: this kernel keeps no such log, or this user may not read it.
std::optional<Blob> read_log(const char* path) {
    const UniqueFd fd{::open(path, O_RDONLY | O_CLOEXEC)};
    if (!fd) return std::nullopt;
    Blob log;
    Blob part(64U << 10);
    while (true) {
        const ssize_t got = ::read(fd.get(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || log.size() > kMaxLog) {
            print_error("holdfast: {} is left out: it is too long, or cannot be read\n", path);
            return std::nullopt;
        }
        if (got == 0) return log;
        log.insert(log.end(), part.begin(), part.begin() + got);
    }
}

// ---- the vTPM

std::optional<vtpm::OwnQuote> ask_vtpm(const FoundVm& vm, const VtpmHome& home, const Blob& nonce) {
    const auto without = [](const std::string& why) {
        print_error("holdfast: the evidence has no quote by the vTPM itself: {}\n", printable(why));
        return std::nullopt;
    };
    const auto socket = connect_unix(home.quote_socket(vm.record.name), SOCK_SEQPACKET);
    if (!socket) return without("nobody answers at its socket");
    auto answer = vtpm::ask_for_quote(*socket, nonce);
    if (!answer) return without(answer.error().what);
    if (!answer->quote) return without(answer->refusal);
    if (answer->quote->ak_certificate.empty()) {
        return without("it was made before vTPMs had a certified attestation key; one made anew has it");
    }
    return std::move(answer->quote);
}

/// A quote that the guest made, in place of the host's.
attest::VtpmPart guests_quote(const Blob& quote) {
    auto part = attest::decode_vtpm(quote);
    if (part) return std::move(*part);
    throw Failure{Code::Evidence, "the guest's quote cannot be used", part.error().what,
                  "give the vTPM's quote as docs/attestation.md has it"};
}

/// None, and a line why, if it cannot be had: a policy that demands it refuses the evidence.
std::optional<Blob> vtpm_part(const std::optional<Blob>& by_guest, const FoundVm& vm, const VtpmHome& home,
                              const Blob& nonce) {
    const auto own = ask_vtpm(vm, home, nonce);
    if (!own) return std::nullopt;
    attest::VtpmPart part;
    if (!by_guest) {
        part.quote.attest = own->attest;
        part.quote.signature = own->signature;
        part.quote.key = own->key;
        for (const vtpm::QuotedPcrs& bank : own->banks) {
            part.quote.pcrs.push_back(attest::tpm::given_pcrs(bank.alg, bank.pcrs, bank.values));
        }
        print_error("holdfast: it was the host that asked for the vTPM's quote, which the quote says too: it "
                    "shows what "
                    "was measured, not that the guest wants to be asked\n");
    } else {
        part = guests_quote(*by_guest);
    }
    part.ak_certificate = own->ak_certificate;
    part.ek_certificate = own->ek_certificate;
    const Blob ca = ca_of(home).der();
    part.ca_certificate = ca;
    const auto log = read_log((vm.path + '/' + kEventLog).c_str());
    if (log && !part.quote.event_log) part.quote.event_log = *log;
    return encode(part);
}

// ---- the CPU

/// Which kind it is, by what is in it. Whether it is of this VM is for the verifier to say.
std::string_view tier_of(const Blob& report) {
    if (attest::snp::parse_report(report)) return attest::kTierSnp;
    const auto quote = attest::tdx::parse_quote(report);
    if (quote && (*quote)->td() != nullptr) return attest::kTierTdx;
    throw Failure{Code::Evidence, "the CPU's report cannot be used",
                  quote ? "it is of an SGX enclave" : "it is no SNP report and no TDX quote",
                  "give it as the guest has it from /dev/sev-guest, /dev/tdx_guest or configfs-tsm"};
}

Blob cpu_part(const AttestOptions& options) {
    const auto read = [](const std::string& path) { return path.empty() ? Blob{} : read_evidence(path); };
    const Blob report = read(options.cpu_report);
    const Blob endorsement = read(options.cpu_endorsement);
    const Blob event_log = read(options.cpu_event_log);
    const attest::CpuPart part{
        .tier = tier_of(report), .report = report, .endorsement = endorsement, .event_log = event_log};
    if (part.tier != attest::kTierTdx && !event_log.empty()) {
        throw Failure{Code::Usage, "--cpu-event-log does not go with this report", "only a TD has such a log",
                      "leave it out"};
    }
    return encode(part);
}

}  // namespace

Blob collect_evidence(const std::string& name, const Blob& nonce, const GuestsWord& by_guest,
                      const std::string& state_dir) {
    const FoundVm vm = find_living_vm(state_dir, name);
    std::optional<Blob> vtpm;
    if (vm.record.own_vtpm) vtpm = vtpm_part(by_guest.vtpm_quote, vm, VtpmHome{state_dir}, nonce);
    const UniqueFd anchor = connect_anchor(state_dir);
    const auto statement = statement_of(vm.record, state_dir, nonce);
    const Blob launch = encode(statement);

    std::optional<anchor::Evidence> newest;
    if (!statement.vtpm.empty()) {
        anchor::EvidenceAsk about{.nonce = attest::anchor_question(nonce, launch)};
        std::ranges::copy(statement.vtpm, about.vm.begin());
        newest = ask_for<anchor::Evidence>(anchor, about, "a statement about the vTPM");
    }
    attest::Evidence evidence{.host = {}, .anchor = std::nullopt, .launch = launch};
    if (newest) evidence.anchor = newest->bundle;

    if (vtpm) evidence.vtpm = *vtpm;
    if (by_guest.cpu) evidence.cpu = *by_guest.cpu;

    const auto question = attest::host_question(nonce, evidence);
    const auto quote = ask_for<anchor::QuoteAnswer>(anchor, anchor::QuoteAsk{question}, "a quote");
    const auto status = ask_for<anchor::StatusAnswer>(anchor, anchor::StatusAsk{}, "its status");
    attest::HostPart part{.attest = quote.quote.quote.attest,
                          .signature = quote.quote.quote.signature,
                          .key = quote.key,
                          .pcrs = {},
                          .event_log = std::nullopt,
                          .ima_list = std::nullopt};
    for (const anchor::QuotedBank& bank : quote.quote.banks) {
        part.pcrs.push_back(attest::tpm::given_pcrs(bank.alg, bank.pcrs, bank.values));
    }
    // A software TPM has not seen this host boot: these logs are of another one.
    std::optional<Blob> event_log;
    std::optional<Blob> ima_list;
    if (!status.software_tpm) {
        event_log = read_log(kHostEventLog);
        ima_list = read_log(kImaList);
        part.event_log = event_log;
        part.ima_list = ima_list;
    }
    const Blob host = encode(part);
    evidence.host = host;
    return encode(evidence);
}

int attest_vm(const AttestOptions& options, const std::string& state_dir) {
    const Blob nonce = nonce_of(options.nonce);
    GuestsWord by_guest;
    if (!options.vtpm_quote.empty()) by_guest.vtpm_quote = read_evidence(options.vtpm_quote);
    if (!options.cpu_report.empty()) by_guest.cpu = cpu_part(options);
    write_file(options.out, collect_evidence(options.name, nonce, by_guest, state_dir));
    return 0;
}

}  // namespace holdfast::cli
