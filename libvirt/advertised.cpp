// SPDX-License-Identifier: Apache-2.0
#include "libvirt/advertised.hpp"

#include <algorithm>

namespace holdfast::libvirt {
namespace {

constexpr std::string_view kRootPort[] = {"port", "chassis", "id", "bus", "multifunction", "addr"};
constexpr std::string_view kSerial[] = {"chardev", "id", "index"};
constexpr std::string_view kBlock[] = {"bus", "addr", "drive", "id", "bootindex"};
constexpr std::string_view kNet[] = {"bus", "addr", "netdev", "id", "mac", "bootindex"};
constexpr std::string_view kRng[] = {"bus", "addr", "rng", "id"};
constexpr std::string_view kRngRandom[] = {"id", "filename"};
constexpr std::string_view kVirtioSerial[] = {"bus", "addr", "id"};
constexpr std::string_view kVirtconsole[] = {"chardev", "id"};
constexpr std::string_view kTpm[] = {"tpmdev", "id"};
constexpr std::string_view kPanic[] = {"bus", "addr", "id"};
constexpr std::string_view kVfio[] = {"host", "bus", "addr", "id", "bootindex"};
constexpr std::string_view kRam[] = {"id", "size"};
constexpr std::string_view kSecret[] = {"id", "format", "file"};
constexpr std::string_view kModern =
    "Holdfast's virtio devices are of version 1 only: leave out model='virtio-transitional'";

constexpr Type kTypes[] = {
    {"pcie-root-port", kRootPort},
    {"isa-serial", kSerial},
    {"virtio-blk-pci", kBlock},
    {"virtio-net-pci", kNet},
    {"virtio-rng-pci", kRng},
    {"virtio-rng-device", {}, "a name that libvirt asks for: it writes virtio-rng-pci"},
    {"rng-random", kRngRandom},
    {"virtio-serial-pci", kVirtioSerial},
    {"virtconsole", kVirtconsole},
    {"tpm-crb", kTpm},
    {"pvpanic-pci", kPanic},
    {"vfio-pci", kVfio},
    {"memory-backend-ram", kRam},
    {"secret", kSecret},
    // Without this name libvirt takes virtio devices for conventional PCI ones, and asks for a bridge.
    {"virtio-blk-pci-transitional", {}, kModern},
};

}  // namespace

std::span<const Type> advertised_types() noexcept { return kTypes; }

const Type* find_type(std::string_view name) noexcept {
    const auto* const found = std::ranges::find(kTypes, name, &Type::name);
    return found == std::end(kTypes) ? nullptr : found;
}

}  // namespace holdfast::libvirt
