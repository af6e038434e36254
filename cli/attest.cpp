// SPDX-License-Identifier: Apache-2.0
// holdfast attest: collects the evidence of a running VM for one verifier's nonce. It is the host that speaks
// here; what vouches for it is the quote of the host's TPM, which only the anchor can have made.
#include <algorithm>
#include <cerrno>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "attest/text/encoding.hpp"
#include "cli/anchor_files.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/state.hpp"
#include "cli/vtpm_home.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/protocol.hpp"

namespace holdfast::cli {
namespace {

using Blob = std::vector<std::byte>;

// What the kernel kept of the boot: TCG PC Client Platform Firmware Profile, and IMA's list.
constexpr const char* kEventLog = "/sys/kernel/security/tpm0/binary_bios_measurements";
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
                                      .pcrs = pcrs_of(record.pcrs),
                                      .bundle = std::nullopt};
    if (record.own_vtpm) {
        const auto id = VtpmHome{state_dir}.find(record.name).owner.identity.id;
        statement.vtpm.assign(id.begin(), id.end());
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

std::vector<attest::tpm::GivenPcrs> values_of(const std::vector<anchor::QuotedBank>& banks) {
    std::vector<attest::tpm::GivenPcrs> all;
    for (const anchor::QuotedBank& bank : banks) {
        auto& given = all.emplace_back(attest::tpm::GivenPcrs{.bank = bank.alg, .values = {}});
        const auto alg = attest::known_hash(bank.alg);
        const std::size_t size = alg ? attest::digest_size(*alg) : 0;
        std::span<const std::byte> rest{bank.values};
        for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
            if ((bank.pcrs >> pcr & 1) == 0 || rest.size() < size) continue;
            given.values[pcr].assign(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(size));
            rest = rest.subspan(size);
        }
    }
    return all;
}

}  // namespace

int attest_vm(const AttestOptions& options, const std::string& state_dir) {
    const Blob nonce = nonce_of(options.nonce);
    const FoundVm vm = find_living_vm(state_dir, options.name);
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

    const auto question = attest::host_question(nonce, launch, evidence.anchor);
    const auto quote = ask_for<anchor::QuoteAnswer>(anchor, anchor::QuoteAsk{question}, "a quote");
    const auto status = ask_for<anchor::StatusAnswer>(anchor, anchor::StatusAsk{}, "its status");
    attest::HostPart part{.attest = quote.quote.quote.attest,
                          .signature = quote.quote.quote.signature,
                          .key = quote.key,
                          .pcrs = values_of(quote.quote.banks),
                          .event_log = std::nullopt,
                          .ima_list = std::nullopt};
    // A software TPM has not seen this host boot: these logs are of another one.
    std::optional<Blob> event_log;
    std::optional<Blob> ima_list;
    if (!status.software_tpm) {
        event_log = read_log(kEventLog);
        ima_list = read_log(kImaList);
        part.event_log = event_log;
        part.ima_list = ima_list;
    }
    const Blob host = encode(part);
    evidence.host = host;
    write_file(options.out, encode(evidence));
    return 0;
}

}  // namespace holdfast::cli
