// SPDX-License-Identifier: Apache-2.0
// The tree of verbs and flags: the only description of the command line. Help, man pages and
// completions are made from it.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/options.hpp"

namespace holdfast::cli {

/// Declares everything on `app`; parsing it fills `out`, which must outlive the parse. With `only`, the name
/// of a large verb, that verb alone: most of a launch's allocations were flags of the others.
void declare(CLI::App& app, Invocation& out, std::string_view only = {});

/// Examples for a verb's help and man page; empty if there are none.
[[nodiscard]] std::string_view examples_of(std::string_view verb) noexcept;

}  // namespace holdfast::cli
