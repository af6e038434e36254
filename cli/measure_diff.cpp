// SPDX-License-Identifier: Apache-2.0
// Why a launch digest is not the expected one: the first component that differs, from what evidence states.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "cli/error.hpp"
#include "cli/measure.hpp"
#include "cli/output.hpp"
#include "cli/verify.hpp"

namespace holdfast::cli {
namespace {

attest::LaunchStatement read_statement(const std::string& path) {
    const Blob bytes = read_evidence(path);
    const auto evidence = attest::decode_evidence(bytes);
    auto launch = evidence ? attest::decode_launch_statement(evidence->launch)
                           : Result<attest::LaunchStatement>{evidence.error()};
    if (launch) return std::move(*launch);
    throw Failure{Code::Evidence, fmt::format("'{}' is no evidence of a VM", printable(path)),
                  launch.error().what, "give a file that holdfast attest has written"};
}

/// "memory 536870912" against "memory 1073741824": the first line that is not in both.
std::string shape_difference(std::string_view expected, std::string_view found) {
    const auto take_line = [](std::string_view& text) {
        const auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        return line;
    };
    while (!expected.empty() || !found.empty()) {
        const auto ours = take_line(expected);
        const auto theirs = take_line(found);
        if (ours != theirs) {
            return fmt::format("shape: '{}', expected '{}'", printable(std::string{theirs}),
                               printable(std::string{ours}));
        }
    }
    return {};
}

/// docs/measured_boot.md has what is measured into which.
std::string pcr_difference(const PcrTexts& expected, const attest::tpm::ReferencePcrs& found) {
    struct Component {
        std::uint32_t pcr;
        const char* words;
    };
    constexpr std::array kComponents{Component{7, "signer of the bundle"},
                                     Component{4, "kernel, or the bundle's manifest"},
                                     Component{8, "command line"}, Component{9, "initrd"},
                                     Component{0, "version of holdfast, or its ACPI code"}};
    for (const auto& [alg, values] : found) {
        const auto bank = expected.find(std::string{attest::hash_name(alg)});
        if (bank == expected.end()) continue;
        for (const Component& component : kComponents) {
            const auto theirs = values.find(component.pcr);
            const auto ours = bank->second.find(std::to_string(component.pcr));
            if (theirs == values.end() || ours == bank->second.end()) continue;
            if (hex(theirs->second.bytes()) == ours->second) continue;
            return fmt::format("{} (PCR {}): {}, expected {}", component.words, component.pcr,
                               hex(theirs->second.bytes()), ours->second);
        }
    }
    return {};
}

std::string difference(const attest::LaunchStatement& launch, const Measured& expected) {
    if (launch.tier != expected.tier) {
        return fmt::format("tier: {}, expected {}", printable(launch.tier), expected.tier);
    }
    if (auto words = shape_difference(expected.shape, launch.shape); !words.empty()) return words;
    if (auto words = pcr_difference(expected.pcrs, launch.pcrs); !words.empty()) return words;
    if (hex(launch.digest) == expected.digest) return {};
    return fmt::format(
        "kernel, initrd or command line (only a VM with a TPM tells which): launch digest {}, expected {}",
        hex(launch.digest), expected.digest);
}

}  // namespace

int measure_diff(const std::string& evidence, const Measured& expected) {
    const std::string words = difference(read_statement(evidence), expected);
    print("{}\n", words.empty() ? "the same" : words);
    return words.empty() ? 0 : kExitFailure;
}

}  // namespace holdfast::cli
