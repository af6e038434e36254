// SPDX-License-Identifier: Apache-2.0
// Parts of `holdfast anchor` that have a file of their own.
#pragma once

#include <string>

#include "cli/anchor_files.hpp"
#include "cli/options.hpp"

namespace holdfast::cli {

int reanchor(const AnchorOptions& options, const AnchorFiles& files, const std::string& state_dir);

}  // namespace holdfast::cli
