// SPDX-License-Identifier: Apache-2.0
// What is measured into the vTPM before the guest's first instruction: docs/measured_boot.md has the table.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "sys/fd.hpp"
#include "sys/result.hpp"
#include "vmm/launch.hpp"
#include "vtpm/eventlog/event_log.hpp"

namespace holdfast::vmm {

/// Kernel and initrd as they were measured: copies of ours, whatever becomes of the files.
struct MeasuredBoot {
    UniqueFd kernel;
    UniqueFd initrd;                      ///< empty: the guest has none, and nothing is measured for it
    std::vector<eventlog::Event> events;  ///< in the order in which they are extended
};
Result<MeasuredBoot> measure_boot(std::string_view cmdline, std::string_view shape,
                                  const std::optional<BundleClaim>& bundle, const UniqueFd& kernel,
                                  const UniqueFd& initrd);

}  // namespace holdfast::vmm
