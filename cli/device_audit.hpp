// SPDX-License-Identifier: Apache-2.0
// The audit log of devices as files: `state_dir`/devices/audit.log if a directory is given, else below
// /var/lib/holdfast.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.hpp"
#include "iommu/audit.hpp"
#include "vmm/launch.hpp"

namespace holdfast::cli {

class DeviceAudit {
public:
    /// Makes it if it is missing, checks it and holds its lock. Throws HF-0705.
    explicit DeviceAudit(const std::string& state_dir);
    /// Throws HF-0705: what cannot be recorded is not done.
    void note(std::string_view what, std::string_view device, std::string_view why);

    /// What a guest caused, and how much of it was left out before. Throws HF-0705.
    void note_all(std::span<const vmm::DeviceEvent> events, const std::vector<vmm::DeviceShape>& devices,
                  std::uint64_t left_out);

private:
    std::string path_;
    iommu::AuditLog log_;
};

/// Checks the whole log and prints it. Throws HF-0705.
int show_audit(const DeviceOptions& options, const std::string& state_dir);

}  // namespace holdfast::cli
