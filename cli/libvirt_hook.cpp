// SPDX-License-Identifier: Apache-2.0
// holdfast libvirt hook: the devices of the host that the domain on standard input asks for, judged by the
// device policy before libvirt takes them from the host.
#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/device.hpp"
#include "cli/device_open.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "libvirt/host_devices.hpp"

namespace holdfast::cli {
namespace {

// Far above any domain's.
constexpr std::size_t kMaxXml = 8 << 20;

[[noreturn]] void not_judged(const Error& error) {
    throw Failure{Code::DeviceRefused, "the devices that this domain asks for cannot be judged",
                  reason_of(error), "the hook wants the domain XML that libvirt gives it"};
}

std::string read_domain() {
    std::string xml;
    std::array<char, 4096> part;
    while (xml.size() <= kMaxXml) {
        const ssize_t got = ::read(STDIN_FILENO, part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) not_judged(os_error("read"));
        if (got == 0) return xml;
        xml.append(part.data(), static_cast<std::size_t>(got));
    }
    not_judged(input_error("it is too long"));
}

}  // namespace

int judge_domain(const LibvirtHookOptions& options, const std::string& state_dir) {
    const auto devices = libvirt::host_devices_in(read_domain());
    if (!devices) not_judged(devices.error());
    if (!devices->mediated.empty()) {
        throw Failure{
            Code::DeviceRefused,
            fmt::format("the mediated device {} is not handed over", printable(devices->mediated.front())),
            "the device policy has rules for whole PCI devices only", "give the domain a whole device"};
    }
    // A policy that cannot be read is nothing to a domain without devices.
    if (devices->pci.empty()) return 0;
    const iommu::Policy policy = read_device_policy(options.policy);
    for (const std::string& address : devices->pci) (void)allow_device(policy, address, state_dir);
    return 0;
}

}  // namespace holdfast::cli
