// SPDX-License-Identifier: Apache-2.0
#include "libvirt/environment.hpp"

namespace holdfast::libvirt {
namespace {

constexpr Variable kVariables[] = {
    {"HOLDFAST_MEMORY_ENCRYPTION", "memory-encryption", false, "software (default) or none"},
    {"HOLDFAST_CLEAR_WINDOW", "clear-window", false, "tier software: most memory that is ever plaintext"},
    {"HOLDFAST_SEAL_AFTER", "seal-after", false, "tier software: memory not used for so long is sealed"},
    {"HOLDFAST_MEMORY_CIPHER", "memory-cipher", false, "tier software: the cipher of guest memory"},
    {"HOLDFAST_BUILTIN", "builtin", true, "on: boot the built-in guest"},
    {"HOLDFAST_CMDLINE", "cmdline", false, "what the built-in guest does"},
    {"HOLDFAST_BUNDLE", "bundle", false, "directory of a signed bundle, which decides what the guest is"},
    {"HOLDFAST_BUNDLE_KEY", "bundle-key", false, "whose bundles are taken; default /etc/holdfast/bundle.pub"},
    {"HOLDFAST_DEVICE_POLICY", "device-policy", false,
     "which devices may be handed over; default /etc/holdfast/devices.toml"},
    {"HOLDFAST_VSOCK", "vsock", false, "CID=PATH: vsock by a Unix socket"},
    {"HOLDFAST_VTPM", "vtpm", false, "on or strict: the host's vTPM that has the domain's name"},
    {"HOLDFAST_STATE_DIR", "", false, "Holdfast's state directory"},
};

}  // namespace

std::span<const Variable> variables() noexcept { return kVariables; }

}  // namespace holdfast::libvirt
