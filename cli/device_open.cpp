// SPDX-License-Identifier: Apache-2.0
#include "cli/device_open.hpp"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>

#include "cli/device.hpp"
#include "cli/device_audit.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/soon.hpp"
#include "iommu/host/sysfs.hpp"
#include "iommu/host/type1.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* kContainer = "/dev/vfio/vfio";

struct Admitted {
    vmm::DeviceShape shape;
    unsigned group = 0;
};

Admitted admit(const iommu::Policy& policy, const std::string& address, const std::string& state_dir) {
    const AllowedDevice device = allow_device(policy, address, state_dir);
    if (device.driver != "vfio-pci") {
        throw Failure{Code::DeviceDriver, fmt::format("{} is not bound to vfio-pci", address),
                      device.driver.empty() ? "it has no driver" : "the host uses it: " + device.driver,
                      fmt::format("holdfast device bind {}", address)};
    }
    const iommu::Rule& rule = policy.rules[device.rule];
    return {.shape = {.address = address,
                      .rule = static_cast<std::uint32_t>(device.rule),
                      .max_bytes = rule.max_bytes,
                      .max_mappings = rule.max_mappings,
                      .intx = rule.intx},
            .group = device.group};
}

UniqueFd open_node(const std::string& address, const std::string& path) {
    UniqueFd fd;
    // The kernel closes a group a moment after the process that had it has ended.
    static_cast<void>(soon([&] {
        fd = UniqueFd{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
        return fd || errno != EBUSY;
    }));
    if (fd) return fd;
    const Error error = os_error("open");
    throw Failure{Code::DeviceOpen, fmt::format("{} cannot be opened at {}", address, path), reason_of(error),
                  error.os_errno == EBUSY ? "end the VM that uses it"
                                          : "modprobe vfio-pci, and run as root or as who may use the group"};
}

}  // namespace

AllowedDevice allow_device(const iommu::Policy& policy, const std::string& address,
                           const std::string& state_dir) {
    const auto facts = iommu::host::Sysfs{}.facts(address);
    if (!facts) {
        throw Failure{Code::NoSuchDevice, fmt::format("there is no device '{}'", printable(address)),
                      reason_of(facts.error()), "holdfast device list shows what there is"};
    }
    const iommu::Verdict verdict = iommu::judge(policy, *facts);
    if (!verdict.allowed() || !verdict.rule || !facts->group) {
        const auto words = iommu::words_of(verdict.findings.empty() ? iommu::Reason::NoIommu
                                                                    : verdict.findings.front().reason);
        DeviceAudit{state_dir}.note("refused", address, words.name);
        throw Failure{Code::DeviceRefused, fmt::format("{} is not handed over", address),
                      std::string{words.name} + ": " + std::string{words.why},
                      fmt::format("holdfast device explain {} says all reasons, and what to do", address)};
    }
    return {.rule = *verdict.rule, .group = *facts->group, .driver = facts->driver};
}

std::vector<vmm::DeviceShape> admit_devices(const Shape& shape, const std::string& state_dir) {
    std::vector<vmm::DeviceShape> devices;
    if (shape.devices.empty()) return devices;
    const iommu::Policy policy = read_device_policy(shape.device_policy);
    for (const std::string& address : shape.devices) {
        devices.push_back(admit(policy, address, state_dir).shape);
    }
    return devices;
}

vmm::DeviceFds open_device(const Shape& shape, const std::string& address, const std::string& state_dir) {
    const Admitted admitted = admit(read_device_policy(shape.device_policy), address, state_dir);
    DeviceAudit{state_dir}.note("opened", address, shape.name);
    UniqueFd container = open_node(address, kContainer);
    UniqueFd group = open_node(address, fmt::format("/dev/vfio/{}", admitted.group));
    auto opened = iommu::host::open_type1(std::move(container), std::move(group), address.c_str());
    if (!opened) {
        throw Failure{Code::DeviceOpen, fmt::format("{} cannot be opened", address),
                      reason_of(opened.error()), "dmesg says more; holdfast device explain shows its group"};
    }
    return {.container = std::move(opened->container),
            .group = std::move(opened->group),
            .device = std::move(opened->device)};
}

}  // namespace holdfast::cli
