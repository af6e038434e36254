// SPDX-License-Identifier: Apache-2.0
// Constants and wire structs of the virtio IOMMU device (Virtio 1.2 §5.13). Bypass and MMIO mappings are left
// out: neither is ever allowed here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sys/wire/endian.hpp"

namespace holdfast::iommu::virtio::spec {

inline constexpr std::uint16_t TYPE = 23;  // §5

inline constexpr std::uint64_t F_INPUT_RANGE = 1ULL << 0;
inline constexpr std::uint64_t F_MAP_UNMAP = 1ULL << 2;
inline constexpr std::uint64_t F_PROBE = 1ULL << 4;

// §5.13.4, device configuration layout.
struct Config {
    Le<std::uint64_t> page_size_mask;        //  0
    Le<std::uint64_t> input_first;           //  8
    Le<std::uint64_t> input_last;            // 16
    Le<std::uint32_t> domain_first;          // 24
    Le<std::uint32_t> domain_last;           // 28
    Le<std::uint32_t> probe_size;            // 32
    std::uint8_t bypass;                     // 36
    std::array<std::uint8_t, 3> reserved{};  // 37
};
static_assert(sizeof(Config) == 40 && alignof(Config) == 1);

// §5.13.6, request types and status.
enum Type : std::uint8_t { T_ATTACH = 1, T_DETACH = 2, T_MAP = 3, T_UNMAP = 4, T_PROBE = 5 };
enum Status : std::uint8_t {
    S_OK = 0,
    S_IOERR = 1,
    S_UNSUPP = 2,
    S_DEVERR = 3,
    S_INVAL = 4,
    S_RANGE = 5,
    S_NOENT = 6,
    S_FAULT = 7,
    S_NOMEM = 8,
};
struct Head {
    std::uint8_t type;
    std::array<std::uint8_t, 3> reserved{};
};
struct Tail {
    std::uint8_t status;
    std::array<std::uint8_t, 3> reserved{};
};
struct Attach {
    Head head;
    Le<std::uint32_t> domain;
    Le<std::uint32_t> endpoint;
    Le<std::uint32_t> flags;
    Le<std::uint32_t> reserved;
};
struct Detach {
    Head head;
    Le<std::uint32_t> domain;
    Le<std::uint32_t> endpoint;
    Le<std::uint64_t> reserved;
};
inline constexpr std::uint32_t MAP_F_READ = 1;
inline constexpr std::uint32_t MAP_F_WRITE = 2;
struct Map {
    Head head;
    Le<std::uint32_t> domain;
    Le<std::uint64_t> virt_start;
    Le<std::uint64_t> virt_end;
    Le<std::uint64_t> phys_start;
    Le<std::uint32_t> flags;
};
struct Unmap {
    Head head;
    Le<std::uint32_t> domain;
    Le<std::uint64_t> virt_start;
    Le<std::uint64_t> virt_end;
    Le<std::uint32_t> reserved;
};
struct Probe {
    Head head;
    Le<std::uint32_t> endpoint;
    std::array<std::uint8_t, 64> reserved{};
};
static_assert(sizeof(Attach) == 20 && sizeof(Detach) == 20 && sizeof(Map) == 36);
static_assert(sizeof(Unmap) == 28 && sizeof(Probe) == 72 && alignof(Map) == 1);

// §5.13.6.8.2, the property RESV_MEM.
inline constexpr std::uint16_t PROBE_T_RESV_MEM = 1;
inline constexpr std::uint8_t RESV_MEM_T_RESERVED = 0;
inline constexpr std::uint8_t RESV_MEM_T_MSI = 1;
struct ResvMem {
    Le<std::uint16_t> type;
    Le<std::uint16_t> length;  ///< of what follows
    std::uint8_t subtype;
    std::array<std::uint8_t, 3> reserved{};
    Le<std::uint64_t> start;
    Le<std::uint64_t> end;
};
static_assert(sizeof(ResvMem) == 24);

}  // namespace holdfast::iommu::virtio::spec
