// SPDX-License-Identifier: Apache-2.0
// What `holdfast bench` measures with which program, and what was promised of it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::bench {

enum class Prints : std::uint8_t { Lines, GoogleJson };

/// One program, started once a run.
struct Suite {
    std::string_view id;
    std::string_view title;
    std::string_view program;  ///< beside the programs, in bench/; without a slash it is looked for there
    Prints prints = Prints::Lines;
    std::string_view quick;  ///< arguments, by blanks; @VECTORS and @TMP stand for folders
    std::string_view full;
    std::string_view needs;  ///< "kvm qemu …": what must be here, by words of missing()
};
[[nodiscard]] std::span<const Suite> suites() noexcept;

enum class Wanted : std::uint8_t { AtMost, AtLeast, Shown };

/// One line of the report. Figures by name; empty: there is none.
struct Goal {
    std::string_view suite;
    std::string_view question;
    std::string_view ours;
    std::string_view peer;  ///< another program that does the same
    std::string_view peer_name;
    std::string_view limit;  ///< what no program could go below
    std::string_view limit_name;
    std::string_view ratio;  ///< a figure; empty: ours to the peer, or else to the limit
    Wanted wanted = Wanted::Shown;
    double bound = 0;
    int issue = 0;
};
[[nodiscard]] std::span<const Goal> goals() noexcept;

/// A curve of figures PREFIX.NAME.X, one line for each NAME.
struct Plot {
    std::string_view suite;
    std::string_view title;
    std::string_view prefix;
    std::string_view x;
    std::string_view y;
    bool logarithmic = false;
};
[[nodiscard]] std::span<const Plot> plots() noexcept;

/// What is not measured by anything yet, and what others have published: each with where it comes from.
struct Published {
    std::string_view what;
    std::string_view figure;
    std::string_view source;
};
[[nodiscard]] std::span<const Published> published() noexcept;

/// Why a suite cannot be measured here; empty: it can.
[[nodiscard]] std::string missing(const Suite& suite);

}  // namespace holdfast::bench
