// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/userfault.hpp"

#include <cerrno>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace holdfast::memcrypt::software {
namespace {

constexpr std::uint64_t kFeatures = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
constexpr std::uint64_t kRangeCalls = std::uint64_t{1} << _UFFDIO_CONTINUE | std::uint64_t{1} << _UFFDIO_WAKE;
// EAGAIN: the address space is being changed elsewhere. EEXIST: the page is mapped already, which is for
// ever; or an madvise of another thread has just freed the page table that it was to stand in (Linux
// from 6.14 on, which reclaims empty ones), and the next attempt makes a new one. Only trying again tells the
// two apart.
constexpr int kMapAttempts = 1000;

uffdio_range range_of(std::span<std::byte> bytes) {
    // SAFETY: an address for the kernel; nobody here dereferences it.
    return {.start = reinterpret_cast<std::uintptr_t>(bytes.data()), .len = bytes.size()};
}

}  // namespace

Result<Userfault> Userfault::create(const UniqueFd& device) {
    UniqueFd fd{::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK)};
    if (!fd) return os_error("USERFAULTFD_IOC_NEW");
    uffdio_api api{.api = UFFD_API, .features = kFeatures, .ioctls = 0};
    if (::ioctl(fd.get(), UFFDIO_API, &api) < 0) return os_error("UFFDIO_API");
    return Userfault{std::move(fd)};
}

Result<void> Userfault::watch(std::span<std::byte> range) const {
    uffdio_register request{.range = range_of(range),
                            .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
                            .ioctls = 0};
    if (::ioctl(fd_.get(), UFFDIO_REGISTER, &request) < 0) return os_error("UFFDIO_REGISTER");
    if ((request.ioctls & kRangeCalls) != kRangeCalls) {
        return Error{Fault::Os, 0, "userfaultfd cannot map pages of shared memory"};
    }
    return {};
}

Result<std::size_t> Userfault::take(Batch& out) const {
    std::array<uffd_msg, std::tuple_size_v<Batch>> messages;
    const ssize_t got = ::read(fd_.get(), messages.data(), sizeof messages);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::size_t{0};
    if (got < 0) return os_error("read userfaultfd");
    const auto count = static_cast<std::size_t>(got) / sizeof messages[0];
    for (std::size_t i = 0; i < count; ++i) {
        // Other events are asked for by features that we did not ask for.
        if (messages[i].event != UFFD_EVENT_PAGEFAULT) return Error{Fault::Os, 0, "userfaultfd event"};
        out[i] = messages[i].arg.pagefault.address;
    }
    return count;
}

Result<void> Userfault::map(std::span<std::byte> range) const {
    for (int attempt = 0; !range.empty(); ++attempt) {
        uffdio_continue request{.range = range_of(range), .mode = 0, .mapped = 0};
        if (::ioctl(fd_.get(), UFFDIO_CONTINUE, &request) == 0) return {};
        if ((errno != EAGAIN && errno != EEXIST) || attempt == kMapAttempts)
            return os_error("UFFDIO_CONTINUE");
        if (request.mapped > 0) range = range.subspan(static_cast<std::size_t>(request.mapped));
    }
    return {};
}

Result<void> Userfault::wake(std::span<std::byte> range) const {
    uffdio_range request = range_of(range);
    if (::ioctl(fd_.get(), UFFDIO_WAKE, &request) < 0) return os_error("UFFDIO_WAKE");
    return {};
}

}  // namespace holdfast::memcrypt::software
