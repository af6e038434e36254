// SPDX-License-Identifier: Apache-2.0
// Constants of the TPM 2.0 Library, revision 1.59, Part 2 (docs/specs.md): those that we send or judge.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::tpm2 {

enum class St : std::uint16_t {  // §6.9, TPM_ST
    NO_SESSIONS = 0x8001,
    SESSIONS = 0x8002,
};

enum class Cc : std::uint32_t {  // §6.5.2, TPM_CC
    HierarchyControl = 0x121,
    PCR_Allocate = 0x12b,
    CreatePrimary = 0x131,
    IncrementalSelfTest = 0x142,
    SelfTest = 0x143,
    Startup = 0x144,
    Shutdown = 0x145,
    NV_Read = 0x14e,
    Quote = 0x158,
    FlushContext = 0x165,
    NV_ReadPublic = 0x169,
    GetCapability = 0x17a,
    PCR_Read = 0x17e,
    PCR_Extend = 0x182,
};

namespace rc {  // §6.6.3, TPM_RC
inline constexpr std::uint32_t SUCCESS = 0;
inline constexpr std::uint32_t INITIALIZE = 0x100;
inline constexpr std::uint32_t FAILURE = 0x101;
inline constexpr std::uint32_t COMMAND_SIZE = 0x142;
}  // namespace rc

enum class Alg : std::uint16_t {  // §6.3, TPM_ALG_ID: the hashes that we compute
    SHA256 = 0x000b,
    SHA384 = 0x000c,
};

enum class Su : std::uint16_t { CLEAR = 0, STATE = 1 };  // §6.10, TPM_SU

enum class Cap : std::uint32_t { PCRS = 5 };  // §6.12, TPM_CAP

namespace rh {  // §7.4, TPM_RH
inline constexpr std::uint32_t ENDORSEMENT = 0x4000000b;
inline constexpr std::uint32_t PLATFORM = 0x4000000c;
inline constexpr std::uint32_t PW = 0x40000009;  ///< the "session" of a password
}  // namespace rh

inline constexpr std::size_t kHeaderBytes = 10;   ///< tag, size, and command or response code
inline constexpr std::size_t kMaxMessage = 4096;  ///< of a command or a response, as libtpms has it
inline constexpr std::uint32_t kPcrs = 24;        ///< PC Client: PCR 0-23
inline constexpr std::size_t kMaxBanks = 16;      ///< of any list of PCR banks or digests that we read

}  // namespace holdfast::tpm2
