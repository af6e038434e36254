// SPDX-License-Identifier: Apache-2.0
// One case of a folder of attestation vectors: its files with the case's changes made, and what to verify
// with. The layout is that of the folder's own README: cases.json names files, changes and expectations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "attest/finding.hpp"

namespace holdfast::attest::vectors {

using Bytes = std::vector<std::byte>;
using Json = nlohmann::json;
/// PCR values by index.
using Pcrs = std::map<std::uint32_t, Bytes>;

/// What came of a case; none: the kind gives no such verdict.
struct Outcome {
    std::optional<bool> authentic;
    std::optional<bool> policy_accepts;
    Findings findings;
    Json fields = Json::object();
};

/// A case that cannot be run: files that are not there, changes that nobody described.
struct BadCase : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Case {
public:
    /// `subject` is the file that changes apply to where they name none.
    Case(std::filesystem::path folder, Json json, std::string subject);

    [[nodiscard]] const Json& json() const noexcept { return json_; }
    [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
    [[nodiscard]] bool has(const std::string& name) const;
    /// The file with the case's patch, truncate, append and replace.
    [[nodiscard]] Bytes file(const std::string& name) const;
    /// An entry that may be one file or a list of files.
    [[nodiscard]] std::vector<Bytes> files(const std::string& name) const;
    [[nodiscard]] std::optional<Bytes> nonce() const;
    /// Seconds since 1970 of "at".
    [[nodiscard]] std::optional<std::int64_t> at() const;
    /// The case's pcr_override, pcr_swap and pcrs_from.
    [[nodiscard]] Pcrs changed(Pcrs pcrs) const;
    /// A policy setting that the case turns on.
    [[nodiscard]] bool wants(const char* setting) const;

private:
    [[nodiscard]] Bytes read(const std::string& path) const;
    [[nodiscard]] Bytes with_changes(const std::string& name, Bytes bytes) const;
    /// The changes under `key` that concern the file, each as an object.
    [[nodiscard]] std::vector<Json> changes(const char* key, const std::string& name,
                                            const char* value_name) const;

    std::filesystem::path folder_;
    Json json_;
    std::string subject_;
};

[[nodiscard]] Bytes from_hex(const std::string& text);
/// {"0": hex, …} or [hex, …]
[[nodiscard]] Pcrs pcrs_of(const Json& json);
[[nodiscard]] Bytes from_base64(const std::string& text);

}  // namespace holdfast::attest::vectors
