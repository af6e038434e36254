// SPDX-License-Identifier: Apache-2.0
// The policy language (docs/sandbox.md, "Policies"): what it says, without how it is enforced.
// Build time and tests only; errors are exceptions.
//
//   rule      := call {"," call} [":" clause {"and" clause}] ["justify:" text] ["rare:" text] ["hot:" text]
//   clause    := "arg"N "==" value | "arg"N "&" value "==" value | "arg"N "in" "{" value {"," value} "}"
//              | "errno" value
//   value     := term {"|" term}          term := number | name in symbols.cpp
//   include   := "include" file
//
// A line that starts with a blank continues the one before. "#" starts a comment; the comment right
// above a rule, or behind it, is its reason.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace holdfast::sandbox::compiler {

/// (argument & mask) == value
struct Compare {
    unsigned argument = 0;
    std::uint64_t mask = ~0ULL;
    std::uint64_t value = 0;
    bool operator==(const Compare&) const = default;
};

/// One system call under one set of conditions: what a filter decides and a test can use up.
struct Allowance {
    std::string call;
    std::vector<Compare> conditions;  ///< all of them must hold
    std::optional<int> fails_with;    ///< an errno: answered, not run
    std::string text;                 ///< "ioctl KVM_RUN"
    std::string where;                ///< "vmm.policy:12"
    std::string reason;
    std::string justify;
    std::string rare;  ///< why no test uses it; empty: one must
    std::string hot;   ///< why the filter asks for it first; empty: it stands where libseccomp puts it

    /// Whether a call with these six arguments is what this is about (the name is compared elsewhere).
    [[nodiscard]] bool matches(std::span<const std::uint64_t> arguments) const;
};

struct PolicyError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Reads a policy and what it includes (paths relative to it). Refuses what is malformed, listed
/// twice, or dangerous without a justification.
[[nodiscard]] std::vector<Allowance> read_policy(const std::string& path);

/// The same for text; `name` stands in messages, includes are looked up in `directory`.
[[nodiscard]] std::vector<Allowance> parse_policy(const std::string& text, const std::string& name,
                                                  const std::string& directory);

}  // namespace holdfast::sandbox::compiler
