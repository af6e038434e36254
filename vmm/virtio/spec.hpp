// SPDX-License-Identifier: Apache-2.0
// Constants and wire structs of Virtio 1.2 (OASIS, committee specification 01): split virtqueues
// and the PCI transport. What belongs to one device type is with that device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "sys/wire/endian.hpp"

namespace holdfast::virtio::spec {

// §2.1, device status field.
enum Status : std::uint8_t {
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    DEVICE_NEEDS_RESET = 64,
    FAILED = 128,
};

// §5, device types.
inline constexpr std::uint16_t TYPE_NET = 1;
inline constexpr std::uint16_t TYPE_BLOCK = 2;
inline constexpr std::uint16_t TYPE_CONSOLE = 3;
inline constexpr std::uint16_t TYPE_ENTROPY = 4;
inline constexpr std::uint16_t TYPE_SOCKET = 19;

// §6, reserved feature bits.
inline constexpr std::uint64_t F_INDIRECT_DESC = 1ULL << 28;
inline constexpr std::uint64_t F_EVENT_IDX = 1ULL << 29;
inline constexpr std::uint64_t F_VERSION_1 = 1ULL << 32;
inline constexpr std::uint64_t F_ACCESS_PLATFORM = 1ULL << 33;

// §2.7.5, the virtqueue descriptor table.
inline constexpr std::uint16_t DESC_F_NEXT = 1;
inline constexpr std::uint16_t DESC_F_WRITE = 2;
inline constexpr std::uint16_t DESC_F_INDIRECT = 4;
struct Desc {
    Le<std::uint64_t> addr;   //  0
    Le<std::uint32_t> len;    //  8
    Le<std::uint16_t> flags;  // 12
    Le<std::uint16_t> next;   // 14
};
static_assert(sizeof(Desc) == 16 && alignof(Desc) == 1 && offsetof(Desc, flags) == 12);
static_assert(std::is_trivially_copyable_v<Desc> && std::is_standard_layout_v<Desc>);

// §2.7.6 and §2.7.8: flags, idx, then the ring, then the event index of the other side.
inline constexpr std::uint64_t RING_IDX = 2;
inline constexpr std::uint64_t RING_ENTRIES = 4;
inline constexpr std::uint16_t AVAIL_F_NO_INTERRUPT = 1;
inline constexpr std::uint16_t USED_F_NO_NOTIFY = 1;
struct UsedElem {
    Le<std::uint32_t> id;   // 0
    Le<std::uint32_t> len;  // 4
};
static_assert(sizeof(UsedElem) == 8 && alignof(UsedElem) == 1);
inline constexpr std::uint16_t MAX_QUEUE_SIZE = 32768;

// §4.1.2, PCI identity.
inline constexpr std::uint16_t PCI_VENDOR = 0x1af4;
inline constexpr std::uint16_t PCI_DEVICE_BASE = 0x1040;

// §4.1.4, vendor capabilities.
enum PciCap : std::uint8_t {
    PCI_CAP_COMMON_CFG = 1,
    PCI_CAP_NOTIFY_CFG = 2,
    PCI_CAP_ISR_CFG = 3,
    PCI_CAP_DEVICE_CFG = 4,
    PCI_CAP_PCI_CFG = 5,
};
struct PciCapability {
    std::uint8_t cap_vndr;                // 0
    std::uint8_t cap_next;                // 1
    std::uint8_t cap_len;                 // 2
    std::uint8_t cfg_type;                // 3
    std::uint8_t bar;                     // 4
    std::uint8_t id;                      // 5
    std::array<std::uint8_t, 2> padding;  // 6
    Le<std::uint32_t> offset;             // 8
    Le<std::uint32_t> length;             // 12
};
static_assert(sizeof(PciCapability) == 16 && offsetof(PciCapability, offset) == 8);

// §4.1.4.3, common configuration structure layout.
struct CommonCfg {
    Le<std::uint32_t> device_feature_select;  //  0
    Le<std::uint32_t> device_feature;         //  4
    Le<std::uint32_t> driver_feature_select;  //  8
    Le<std::uint32_t> driver_feature;         // 12
    Le<std::uint16_t> config_msix_vector;     // 16
    Le<std::uint16_t> num_queues;             // 18
    std::uint8_t device_status;               // 20
    std::uint8_t config_generation;           // 21
    Le<std::uint16_t> queue_select;           // 22
    Le<std::uint16_t> queue_size;             // 24
    Le<std::uint16_t> queue_msix_vector;      // 26
    Le<std::uint16_t> queue_enable;           // 28
    Le<std::uint16_t> queue_notify_off;       // 30
    Le<std::uint64_t> queue_desc;             // 32
    Le<std::uint64_t> queue_driver;           // 40
    Le<std::uint64_t> queue_device;           // 48
    Le<std::uint16_t> queue_notify_data;      // 56
    Le<std::uint16_t> queue_reset;            // 58
};
static_assert(sizeof(CommonCfg) == 60 && alignof(CommonCfg) == 1);
static_assert(offsetof(CommonCfg, device_status) == 20 && offsetof(CommonCfg, queue_desc) == 32);

inline constexpr std::uint16_t NO_VECTOR = 0xffff;  // §4.1.5.1.2

// §4.1.4.5, ISR status.
inline constexpr std::uint8_t ISR_QUEUE = 1;
inline constexpr std::uint8_t ISR_CONFIG = 2;

}  // namespace holdfast::virtio::spec
