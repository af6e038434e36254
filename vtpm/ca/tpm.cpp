// SPDX-License-Identifier: Apache-2.0
#include "vtpm/ca/tpm.hpp"

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstring>

#include <unistd.h>

#include "sys/wire/endian.hpp"
#include "vtpm/channel/spec.hpp"
#include "vtpm/engine/command.hpp"

namespace holdfast::vtpm::ca {
namespace {

constexpr std::uint32_t CC_NV_DefineSpace = 0x12a;
constexpr std::uint32_t CC_CreatePrimary = 0x131;
constexpr std::uint32_t CC_NV_Write = 0x137;
constexpr std::uint32_t CC_NV_WriteLock = 0x138;
constexpr std::uint32_t CC_Startup = 0x144;
constexpr std::uint32_t CC_FlushContext = 0x165;
constexpr std::uint32_t CC_GetCapability = 0x17a;
constexpr std::uint32_t RH_ENDORSEMENT = 0x4000000b;
constexpr std::uint32_t RH_PLATFORM = 0x4000000c;
constexpr std::uint32_t RS_PW = 0x40000009;
constexpr std::uint32_t CAP_TPM_PROPERTIES = 6;
constexpr std::uint16_t ALG_SHA256 = 0x0b;
// PPWRITE, WRITEDEFINE, PPREAD, OWNERREAD, AUTHREAD, NO_DA, PLATFORMCREATE: whoever has the guest reads
// it, and its operating system can not change it once the platform's authorisation is gone.
constexpr std::uint32_t kCertificateAttributes = 0x42072001;
constexpr std::size_t kNvChunk = 512;

class Bytes {
public:
    template <std::unsigned_integral T>
    Bytes& put(T value) {
        const Be<T> ordered{value};
        return raw(std::as_bytes(std::span{&ordered, 1}));
    }
    Bytes& raw(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    /// A TPM2B: its size in front.
    Bytes& sized(std::span<const std::byte> bytes) {
        return put(static_cast<std::uint16_t>(bytes.size())).raw(bytes);
    }
    /// One password session with an empty password.
    Bytes& empty_auth() {
        return put(std::uint32_t{9})
            .put(RS_PW)
            .put(std::uint16_t{0})
            .put(std::uint8_t{0})
            .put(std::uint16_t{0});
    }
    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

private:
    std::vector<std::byte> bytes_;
};

template <std::unsigned_integral T>
Result<T> take(std::span<const std::byte>& from) {
    if (from.size() < sizeof(T)) return peer_fault("an answer of the TPM is too short");
    Be<T> value;
    std::memcpy(&value, from.data(), sizeof value);
    from = from.subspan(sizeof value);
    return value.get();
}

Result<void> read_exact(const UniqueFd& fd, std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t n = ::read(fd.get(), out.data(), out.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return os_error("read an answer of the vTPM");
        if (n == 0) return peer_fault("the vTPM has ended");
        out = out.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

}  // namespace

Result<void> Tpm::control(std::span<const std::byte> request) {
    HF_TRY(write_all(control_, request));
    channel::wire::Result answer;
    HF_TRY(read_exact(control_, std::as_writable_bytes(std::span{&answer, 1})));
    if (answer.result.get() != channel::result::SUCCESS)
        return peer_fault("the vTPM refuses a control command");
    return {};
}

Result<std::span<const std::byte>> Tpm::run(std::uint16_t tag, std::uint32_t code,
                                            std::span<const std::byte> rest) {
    Bytes command;
    command.put(tag).put(static_cast<std::uint32_t>(kHeadBytes + rest.size())).put(code).raw(rest);
    HF_TRY(write_all(data_, command.bytes()));
    const auto head_bytes = std::span{response_}.first(kHeadBytes);
    HF_TRY(read_exact(data_, head_bytes));
    const CommandHead head = head_of(head_bytes);
    if (head.size < kHeadBytes || head.size > response_.size())
        return peer_fault("an answer of the TPM is too long");
    const auto body = std::span{response_}.subspan(kHeadBytes, head.size - kHeadBytes);
    HF_TRY(read_exact(data_, body));
    if (head.code != 0) return peer_fault("the TPM refuses a command of its creation");
    return std::span<const std::byte>{body};
}

Result<void> Tpm::power_on() {
    Bytes init;
    init.put(static_cast<std::uint32_t>(channel::Command::INIT)).put(std::uint32_t{0});
    HF_TRY(control(init.bytes()));
    HF_TRY(run(tpm::ST_NO_SESSIONS, CC_Startup, Bytes{}.put(tpm::SU_CLEAR).bytes()));
    return {};
}

Result<void> Tpm::power_off() {
    return control(Bytes{}.put(static_cast<std::uint32_t>(channel::Command::SHUTDOWN)).bytes());
}

Result<std::vector<std::byte>> Tpm::primary_key(std::span<const std::byte> public_template) {
    Bytes command;
    command.put(RH_ENDORSEMENT).empty_auth();
    // An empty password and no data, the template, no outside information, no PCRs.
    command.put(std::uint16_t{4}).put(std::uint16_t{0}).put(std::uint16_t{0});
    command.sized(public_template).put(std::uint16_t{0}).put(std::uint32_t{0});
    auto answer = HF_TRY(run(tpm::ST_SESSIONS, CC_CreatePrimary, command.bytes()));
    const auto handle = HF_TRY(take<std::uint32_t>(answer));
    HF_TRY(take<std::uint32_t>(answer));  // the size of the parameters
    const auto size = HF_TRY(take<std::uint16_t>(answer));
    if (size > answer.size()) return peer_fault("an answer of the TPM is too short");
    std::vector<std::byte> key{answer.begin(), answer.begin() + size};
    HF_TRY(run(tpm::ST_NO_SESSIONS, CC_FlushContext, Bytes{}.put(handle).bytes()));
    return key;
}

Result<void> Tpm::write_nv(std::uint32_t index, std::span<const std::byte> bytes) {
    Bytes area;  // TPMS_NV_PUBLIC
    area.put(index).put(ALG_SHA256).put(kCertificateAttributes).put(std::uint16_t{0});
    area.put(static_cast<std::uint16_t>(bytes.size()));
    Bytes define;
    define.put(RH_PLATFORM).empty_auth().put(std::uint16_t{0}).sized(area.bytes());
    HF_TRY(run(tpm::ST_SESSIONS, CC_NV_DefineSpace, define.bytes()));
    for (std::size_t at = 0; at < bytes.size(); at += kNvChunk) {
        Bytes write;
        write.put(RH_PLATFORM).put(index).empty_auth();
        write.sized(bytes.subspan(at, std::min(kNvChunk, bytes.size() - at)))
            .put(static_cast<std::uint16_t>(at));
        HF_TRY(run(tpm::ST_SESSIONS, CC_NV_Write, write.bytes()));
    }
    HF_TRY(run(tpm::ST_SESSIONS, CC_NV_WriteLock, Bytes{}.put(RH_PLATFORM).put(index).empty_auth().bytes()));
    return {};
}

Result<std::uint32_t> Tpm::property(std::uint32_t which) {
    Bytes command;
    command.put(CAP_TPM_PROPERTIES).put(which).put(std::uint32_t{1});
    auto answer = HF_TRY(run(tpm::ST_NO_SESSIONS, CC_GetCapability, command.bytes()));
    HF_TRY(take<std::uint8_t>(answer));  // more data
    const auto capability = HF_TRY(take<std::uint32_t>(answer));
    const auto count = HF_TRY(take<std::uint32_t>(answer));
    const auto property = HF_TRY(take<std::uint32_t>(answer));
    if (capability != CAP_TPM_PROPERTIES || count != 1 || property != which) {
        return peer_fault("the TPM does not tell a property");
    }
    return take<std::uint32_t>(answer);
}

}  // namespace holdfast::vtpm::ca
