// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/tpm_device.hpp"

#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "vtpm/tpm2/spec.hpp"

namespace holdfast::agent {
namespace {

constexpr const char* kAnnounced = "/sys/firmware/acpi/tables/TPM2";
constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPause{50};

/// The kernel starts its TPM beside the first processes: where firmware announces one, it may still be on its
/// way.
UniqueFd open_when_there(const char* path) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
        UniqueFd fd{::open(path, O_RDWR | O_CLOEXEC)};
        if (fd || errno != ENOENT) return fd;
        const bool is_announced = ::access(kAnnounced, F_OK) == 0;
        if (!is_announced || std::chrono::steady_clock::now() > until) {
            errno = ENOENT;
            return {};
        }
        std::this_thread::sleep_for(kPause);
    }
}

}  // namespace

Result<keystore::RunCommand> open_tpm(const char* path) {
    UniqueFd fd = open_when_there(path);
    if (!fd) return os_error("open the guest's TPM");
    // std::function copies what it holds; all copies share the one descriptor, and the last one closes it.
    const auto shared = std::make_shared<UniqueFd>(std::move(fd));
    return keystore::RunCommand{[shared](std::vector<std::byte> command) -> Result<std::vector<std::byte>> {
        const ssize_t wrote = ::write(shared->get(), command.data(), command.size());
        if (wrote != static_cast<ssize_t>(command.size())) return os_error("write to the TPM");
        std::vector<std::byte> answer(tpm2::kMaxMessage);
        const ssize_t got = ::read(shared->get(), answer.data(), answer.size());
        if (got < 0) return os_error("read from the TPM");
        answer.resize(static_cast<std::size_t>(got));
        return answer;
    }};
}

}  // namespace holdfast::agent
