// SPDX-License-Identifier: Apache-2.0
// IMA measurement lists, as Linux shows them: ascii_runtime_measurements, and the binary form in the byte
// order of x86 (Documentation/security/IMA-templates.rst; docs/specs.md). Templates ima-ng, ima-sig, ima-buf
// and their newer v2 forms; an entry of another template cannot be checked, and so is an error.
//
// The list proves nothing before its replay is PCR 10, and an entry's path nothing before its template hash
// is right.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "attest/crypto/hash.hpp"
#include "attest/stage.hpp"
#include "sys/result.hpp"

namespace holdfast::attest::ima {

inline constexpr std::uint32_t kPcr = 10;

struct Entry {
    std::uint32_t pcr = 0;
    Digest template_hash;  ///< as the list has it: SHA-1, or what Linux 6.8's lists of other banks have
    std::vector<std::byte> data;  ///< what the template hash is of: each field behind its length
    std::string_view path;        ///< borrows the list
    std::vector<std::byte> file_digest;
    std::optional<HashAlg> file_alg;
    bool violation = false;  ///< a hash of zeros: the file was written while it was measured
};

/// Borrows the bytes it was read from.
struct List {
    std::span<const std::byte> bytes;
    bool binary = false;
    std::size_t count = 0;
};

/// Walks the whole list once, and recomputes each template hash; what does not fit is a finding.
[[nodiscard]] std::optional<Parsed<List>> parse_list(std::span<const std::byte> bytes, Findings& findings);

class Cursor {
public:
    explicit Cursor(const List& list) noexcept : rest_{list.bytes}, binary_{list.binary} {}
    /// The next entry, ours until the next call; null behind the last.
    [[nodiscard]] Result<const Entry*> next();

private:
    Result<void> read_text();
    Result<void> read_binary();

    std::span<const std::byte> rest_;
    bool binary_;
    Entry entry_;
};

/// PCR 10 after these entries, in one bank. Banks other than SHA-1 are extended with the hash of the template
/// data (Linux 5.8 and later).
[[nodiscard]] Digest replay(const Parsed<List>& list, HashAlg bank);

/// The first `entries` of the list are what PCR 10 stands for: the list may have grown since the quote.
struct Covered {
    List list;
    std::size_t entries = 0;
};
[[nodiscard]] std::optional<Bound<Covered>> bind_list(const Parsed<List>& list, const Digest& pcr10,
                                                      Findings& findings);

/// PCRs that the first entry, boot_aggregate, sums up; by index, of one bank.
using BootPcrs = std::vector<std::optional<Digest>>;
/// No violations; the boot aggregate is there, and is that of the PCRs.
void appraise_list(const Bound<Covered>& list, std::span<const BootPcrs> banks, Findings& findings);

}  // namespace holdfast::attest::ima
