// SPDX-License-Identifier: Apache-2.0
// The TPM emulator control protocol of swtpm, as QEMU 10 and libvirt speak it: constants and wire
// structs for both sides (docs/specs.md, "TPM control channel"). All integers are big-endian and nothing
// is framed: a request is a 32-bit command and its struct, a response is a struct whose first word
// is a result. Left out: the SEND_COMMAND_HEADER extension (TPM commands behind a header of their
// own), and TPM 1.2's save state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sys/wire/endian.hpp"

namespace holdfast::vtpm::channel {

enum class Command : std::uint32_t {
    GET_CAPABILITY = 1,
    INIT = 2,
    SHUTDOWN = 3,
    GET_TPMESTABLISHED = 4,
    SET_LOCALITY = 5,
    HASH_START = 6,
    HASH_DATA = 7,
    HASH_END = 8,
    CANCEL_TPM_CMD = 9,
    STORE_VOLATILE = 10,
    RESET_TPMESTABLISHED = 11,
    GET_STATEBLOB = 12,
    SET_STATEBLOB = 13,
    STOP = 14,
    GET_CONFIG = 15,
    SET_DATAFD = 16,
    SET_BUFFERSIZE = 17,
    GET_INFO = 18,
    LOCK_STORAGE = 19,
};

/// Bits of the answer to GET_CAPABILITY.
namespace cap {
inline constexpr std::uint32_t INIT = 1U << 0;
inline constexpr std::uint32_t SHUTDOWN = 1U << 1;
inline constexpr std::uint32_t GET_TPMESTABLISHED = 1U << 2;
inline constexpr std::uint32_t SET_LOCALITY = 1U << 3;
inline constexpr std::uint32_t HASHING = 1U << 4;
inline constexpr std::uint32_t CANCEL_TPM_CMD = 1U << 5;
inline constexpr std::uint32_t STORE_VOLATILE = 1U << 6;
inline constexpr std::uint32_t RESET_TPMESTABLISHED = 1U << 7;
inline constexpr std::uint32_t GET_STATEBLOB = 1U << 8;
inline constexpr std::uint32_t SET_STATEBLOB = 1U << 9;
inline constexpr std::uint32_t STOP = 1U << 10;
inline constexpr std::uint32_t GET_CONFIG = 1U << 11;
inline constexpr std::uint32_t SET_DATAFD = 1U << 12;
inline constexpr std::uint32_t SET_BUFFERSIZE = 1U << 13;
inline constexpr std::uint32_t GET_INFO = 1U << 14;
inline constexpr std::uint32_t SEND_COMMAND_HEADER = 1U << 15;
inline constexpr std::uint32_t LOCK_STORAGE = 1U << 16;
}  // namespace cap

/// Results on the control channel. They have TPM 1.2's numbers; QEMU only prints them.
namespace result {
inline constexpr std::uint32_t SUCCESS = 0;
inline constexpr std::uint32_t BAD_PARAMETER = 0x03;
inline constexpr std::uint32_t FAIL = 0x09;
inline constexpr std::uint32_t BAD_ORDINAL = 0x0a;  ///< unknown command, or not in this state
inline constexpr std::uint32_t SIZE = 0x17;
inline constexpr std::uint32_t IOERROR = 0x1f;
inline constexpr std::uint32_t BAD_LOCALITY = 0x3d;
}  // namespace result

/// Flag of INIT: the volatile state that was set before is dropped once it has been read.
inline constexpr std::uint32_t kInitDeleteVolatile = 1;

enum class BlobType : std::uint32_t { Permanent = 1, Volatile = 2, SaveState = 3 };
inline constexpr std::uint32_t kBlobDecrypted = 1;  ///< GET_STATEBLOB asks for it, SET_STATEBLOB says so
inline constexpr std::uint32_t kBlobEncrypted = 2;  ///< in the answer of GET_STATEBLOB

inline constexpr std::uint8_t kMaxLocality = 4;
inline constexpr std::uint32_t kMaxBlobBytes = 512U << 10;  ///< longer ones are refused unread
/// What one TPM command or response may have; QEMU's TIS uses 4096 of it, its CRB 3968.
inline constexpr std::uint32_t kMaxTpmBuffer = 4096;
inline constexpr std::size_t kTpmHeaderBytes = 10;  ///< tag, size, code

namespace wire {

struct Request {  // the head of each request
    Be<std::uint32_t> command;
};
struct Result {  // the whole answer of most commands, and the head of the others
    Be<std::uint32_t> result;
};
static_assert(sizeof(Request) == 4 && sizeof(Result) == 4 && alignof(Result) == 1);

struct Capability {
    Be<std::uint32_t> result;
    Be<std::uint32_t> capabilities;
};
static_assert(sizeof(Capability) == 8);

struct Init {
    Be<std::uint32_t> flags;
};

struct Established {  // sent in full even on an error: QEMU always reads 8 bytes
    Be<std::uint32_t> result;
    Be<std::uint8_t> bit;
    Be<std::uint8_t> zero[3];
};
static_assert(sizeof(Established) == 8);

struct Locality {  // QEMU sends all 4 bytes, swtpm_ioctl only the first
    Be<std::uint8_t> locality;
    Be<std::uint8_t> zero[3];
};
static_assert(sizeof(Locality) == 4);

struct HashData {  // HASH_DATA: `length` bytes follow
    Be<std::uint32_t> length;
};

struct GetBlob {
    Be<std::uint32_t> flags;
    Be<std::uint32_t> type;
    Be<std::uint32_t> offset;
};
struct GetBlobAnswer {  // sent in full even on an error: QEMU always reads 16 bytes
    Be<std::uint32_t> result;
    Be<std::uint32_t> flags;
    Be<std::uint32_t> total_length;
    Be<std::uint32_t> length;  // as many bytes follow; QEMU wants length == total_length
};
static_assert(sizeof(GetBlob) == 12 && sizeof(GetBlobAnswer) == 16);

struct SetBlob {  // `length` bytes follow, in QEMU's case by a second write
    Be<std::uint32_t> flags;
    Be<std::uint32_t> type;
    Be<std::uint32_t> length;
};
static_assert(sizeof(SetBlob) == 12);

struct Config {
    Be<std::uint32_t> result;
    Be<std::uint32_t> flags;
};

struct BufferSize {
    Be<std::uint32_t> size;  // 0: a question
};
struct BufferSizeAnswer {
    Be<std::uint32_t> result;
    Be<std::uint32_t> size;
    Be<std::uint32_t> min;
    Be<std::uint32_t> max;
};
static_assert(sizeof(BufferSizeAnswer) == 16);

struct GetInfo {
    Be<std::uint64_t> flags;
    Be<std::uint32_t> offset;
    Be<std::uint32_t> zero;
};
struct GetInfoAnswer {
    Be<std::uint32_t> result;
    Be<std::uint32_t> total_length;
    Be<std::uint32_t> length;  // as many characters follow
};
static_assert(sizeof(GetInfo) == 16 && sizeof(GetInfoAnswer) == 12);

struct LockStorage {
    Be<std::uint32_t> retries;  // of 10 ms each
};

}  // namespace wire
}  // namespace holdfast::vtpm::channel
