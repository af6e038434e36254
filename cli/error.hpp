// SPDX-License-Identifier: Apache-2.0
// How this program fails: one exception with a stable code and the three lines that a person reads.
// The table of codes is here and nowhere else; docs/errors.md is printed from it.
#pragma once

#include <cstdint>
#include <exception>
#include <span>
#include <string>

#include "sys/result.hpp"

namespace holdfast::cli {

enum class Code : std::uint16_t {
    Internal = 1,
    Usage = 101,
    Name = 102,
    NotBuilt = 103,
    Value = 104,
    Config = 105,
    NothingToBoot = 106,
    Tier = 107,
    Evidence = 108,
    Policy = 109,
    Broker = 110,
    Kernel = 201,
    Initrd = 202,
    Disk = 203,
    DiskInUse = 204,
    Tap = 205,
    Passt = 206,
    Vsock = 207,
    Measure = 208,
    Firmware = 209,
    Vtpm = 211,
    Bundle = 212,
    BundleOld = 213,
    BundleDecides = 214,
    Image = 215,
    KvmMissing = 301,
    KvmRights = 302,
    Programs = 303,
    Launch = 304,
    IoFailed = 305,
    VmmDied = 306,
    IoDied = 307,
    Userfaultfd = 308,
    Memlock = 309,
    StateDirectory = 401,
    NameInUse = 402,
    NoSuchVm = 403,
    NotRunning = 404,
    Control = 405,
    Rights = 406,
    Stubborn = 407,
    Console = 408,
    Agent = 409,
    VtpmState = 501,
    VtpmExists = 502,
    NoSuchVtpm = 503,
    VtpmInUse = 504,
    VtpmFailed = 505,
    VtpmSocket = 506,
    VtpmKeys = 507,
    AnchorRefused = 601,
    AnchorTpm = 602,
    AnchorExists = 603,
    AnchorBusy = 604,
    AnchorStopped = 605,
    AnchorDenied = 606,
    DevicePolicy = 701,
    NoSuchDevice = 702,
    DeviceRefused = 703,
    DeviceDriver = 704,
    AuditLog = 705,
    DeviceOpen = 706,
    Adapter = 801,  ///< said by holdfast-qemu
};

/// Exit statuses that are not the end of a VM (design §7).
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

struct CodeRow {
    Code code;
    const char* title;
    const char* meaning;
};
[[nodiscard]] std::span<const CodeRow> code_table() noexcept;

/// What failed, why, and what to do about it: one line each.
class Failure : public std::exception {
public:
    Failure(Code code, std::string what, std::string why, std::string fix)
        : code_{code}, what_{std::move(what)}, why_{std::move(why)}, fix_{std::move(fix)} {}

    [[nodiscard]] Code code() const noexcept { return code_; }
    [[nodiscard]] const char* what() const noexcept override { return what_.c_str(); }
    [[nodiscard]] int exit_status() const noexcept;
    /// To standard error; coloured on a terminal only.
    void print() const;

private:
    Code code_;
    std::string what_;
    std::string why_;
    std::string fix_;
};

/// "No such file or directory (ENOENT, open kernel)" for the second line.
[[nodiscard]] std::string reason_of(const Error& error);
[[nodiscard]] std::string reason_of_errno(int os_errno);

/// The value, or HF-0001 for something of the operating system that only an exhausted host refuses.
template <typename T>
T expect(Result<T> result) {
    if (!result) {
        throw Failure{Code::Internal, "an operation that should always work did not",
                      reason_of(result.error()),
                      "look at the host's limits (descriptors, processes, memory); else report this"};
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace holdfast::cli
