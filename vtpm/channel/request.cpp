// SPDX-License-Identifier: Apache-2.0
#include "vtpm/channel/request.hpp"

#include <algorithm>
#include <cstring>

namespace holdfast::vtpm::channel {
namespace {

template <typename T>
T read_struct(std::span<const std::byte> bytes) {
    T value;
    std::memcpy(&value, bytes.first(sizeof value).data(), sizeof value);
    return value;
}

struct Shape {
    std::size_t fixed = 0;      // bytes of the struct
    bool may_be_short = false;  // one byte is enough
    std::size_t most_tail = 0;  // bytes that may follow, as the struct's last word says
};

Shape shape_of(Command command) {
    switch (command) {
        case Command::INIT: return {.fixed = sizeof(wire::Init)};
        case Command::SET_LOCALITY:
        case Command::RESET_TPMESTABLISHED: return {.fixed = sizeof(wire::Locality), .may_be_short = true};
        case Command::HASH_DATA: return {.fixed = sizeof(wire::HashData), .most_tail = kMaxTpmBuffer};
        case Command::GET_STATEBLOB: return {.fixed = sizeof(wire::GetBlob)};
        case Command::SET_STATEBLOB: return {.fixed = sizeof(wire::SetBlob), .most_tail = kMaxBlobBytes};
        case Command::SET_BUFFERSIZE: return {.fixed = sizeof(wire::BufferSize)};
        case Command::GET_INFO: return {.fixed = sizeof(wire::GetInfo)};
        case Command::LOCK_STORAGE: return {.fixed = sizeof(wire::LockStorage)};
        case Command::GET_CAPABILITY:
        case Command::SHUTDOWN:
        case Command::GET_TPMESTABLISHED:
        case Command::HASH_START:
        case Command::HASH_END:
        case Command::CANCEL_TPM_CMD:
        case Command::STORE_VOLATILE:
        case Command::STOP:
        case Command::GET_CONFIG:
        case Command::SET_DATAFD: break;
    }
    return {};
}

bool is_known(Command command) {
    return command >= Command::GET_CAPABILITY && command <= Command::LOCK_STORAGE;
}

}  // namespace

Result<std::optional<Request>> parse(std::span<const std::byte> bytes) {
    if (bytes.size() < sizeof(wire::Request)) return std::optional<Request>{};
    const auto command = static_cast<Command>(read_struct<wire::Request>(bytes).command.get());
    const auto body = bytes.subspan(sizeof(wire::Request));
    // Nobody knows where an unknown request ends, but for its sender, who now waits for the answer.
    if (!is_known(command)) return std::optional{Request{command, body, bytes.size()}};

    const Shape shape = shape_of(command);
    std::size_t size = shape.fixed;
    if (shape.may_be_short && !body.empty()) size = std::min(size, body.size());
    if (body.size() < size) return std::optional<Request>{};
    if (shape.most_tail != 0) {
        const auto length = read_struct<Be<std::uint32_t>>(body.subspan(size - sizeof(std::uint32_t))).get();
        if (length > shape.most_tail) return peer_fault("a length on the control channel is too large");
        size += length;
        if (body.size() < size) return std::optional<Request>{};
    }
    return std::optional{Request{command, body.first(size), sizeof(wire::Request) + size}};
}

}  // namespace holdfast::vtpm::channel
