// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/tcti.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <unistd.h>

#include "sys/wire/endian.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::uint64_t kMagic = 0x484f4c4446415354;  // "HOLDFAST"
constexpr std::size_t kHeader = 10;                   // TPM 2.0 part 1, "Response Header": tag, size, code
// Longer than any command of ours on any chip: making a key is the slowest.
constexpr int kTimeoutMs = 60'000;

}  // namespace

TpmLink::TpmLink(UniqueFd fd) noexcept : fd_{std::move(fd)} {
    context_.functions.magic = kMagic;
    context_.functions.version = 1;
    context_.functions.transmit = transmit;
    context_.functions.receive = receive;
    context_.self = this;
}

TSS2_TCTI_CONTEXT* TpmLink::context() noexcept {
    // SAFETY: the opaque type's own first bytes are the common part; the TCTI specification defines it so.
    return reinterpret_cast<TSS2_TCTI_CONTEXT*>(&context_);
}

TSS2_RC TpmLink::transmit(TSS2_TCTI_CONTEXT* context, std::size_t size, const std::uint8_t* command) {
    TpmLink& self = *reinterpret_cast<Context*>(context)->self;  // SAFETY: as in context()
    self.held_ = 0;
    // One write: the kernel's driver takes a command whole.
    if (!write_all(self.fd_, std::as_bytes(std::span{command, size}))) return TSS2_TCTI_RC_IO_ERROR;
    return TSS2_RC_SUCCESS;
}

/// Until `wanted` bytes are there. The driver gives a response in one piece, a socket in any.
TSS2_RC TpmLink::fill(std::size_t wanted) {
    while (held_ < wanted) {
        pollfd wait{.fd = fd_.get(), .events = POLLIN, .revents = 0};
        const int ready = ::poll(&wait, 1, kTimeoutMs);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return TSS2_TCTI_RC_IO_ERROR;
        const ssize_t got = ::read(fd_.get(), response_.data() + held_, response_.size() - held_);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return TSS2_TCTI_RC_IO_ERROR;
        held_ += static_cast<std::size_t>(got);
    }
    return TSS2_RC_SUCCESS;
}

TSS2_RC TpmLink::receive(TSS2_TCTI_CONTEXT* context, std::size_t* size, std::uint8_t* response,
                         std::int32_t) {
    TpmLink& self = *reinterpret_cast<Context*>(context)->self;  // SAFETY: as in context()
    if (const TSS2_RC rc = self.fill(kHeader); rc != TSS2_RC_SUCCESS) return rc;
    Be<std::uint32_t> said;
    std::memcpy(&said, self.response_.data() + 2, sizeof said);
    const std::size_t whole = said.get();
    if (whole < kHeader || whole > self.response_.size()) return TSS2_TCTI_RC_MALFORMED_RESPONSE;
    if (const TSS2_RC rc = self.fill(whole); rc != TSS2_RC_SUCCESS) return rc;
    if (self.held_ != whole) return TSS2_TCTI_RC_MALFORMED_RESPONSE;
    if (response != nullptr) {
        if (*size < whole) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
        std::memcpy(response, self.response_.data(), whole);
    }
    *size = whole;
    return TSS2_RC_SUCCESS;
}

}  // namespace holdfast::anchor
