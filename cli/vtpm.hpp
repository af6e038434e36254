// SPDX-License-Identifier: Apache-2.0
// How a vTPM is shown.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "cli/vtpm_home.hpp"

namespace holdfast::cli {

/// RFC 9562's text form.
[[nodiscard]] std::string uuid_of(const vtpm::Id& id);
/// One object, with stable keys.
[[nodiscard]] nlohmann::ordered_json to_json(const FoundVtpm& found);

}  // namespace holdfast::cli
