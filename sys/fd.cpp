// SPDX-License-Identifier: Apache-2.0
#include "sys/fd.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast {

void UniqueFd::reset(int fd) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
}

Result<UniqueFd> UniqueFd::duplicate() const {
    const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return os_error("duplicate descriptor");
    return UniqueFd{copy};
}

Result<void> pread_exact(const UniqueFd& fd, std::span<std::byte> out, std::uint64_t offset) {
    while (!out.empty()) {
        const ssize_t got = ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return os_error("read file");
        if (got == 0) return input_error("file ends too early");
        out = out.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
    return {};
}

Result<void> write_all(const UniqueFd& fd, std::span<const std::byte> in) {
    while (!in.empty()) {
        const ssize_t put = ::write(fd.get(), in.data(), in.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return os_error("write");
        in = in.subspan(static_cast<std::size_t>(put));
    }
    return {};
}

Result<std::uint64_t> file_size(const UniqueFd& fd) {
    struct stat status{};
    if (::fstat(fd.get(), &status) < 0) return os_error("fstat");
    if (!S_ISREG(status.st_mode)) return input_error("not a regular file");
    return static_cast<std::uint64_t>(status.st_size);
}

Result<void> set_nonblocking(const UniqueFd& fd) {
    const int flags = ::fcntl(fd.get(), F_GETFL);
    if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return os_error("set O_NONBLOCK");
    return {};
}

Result<UniqueFd> sealed_memfd(const char* name, std::uint64_t size) {
    UniqueFd fd{::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (!fd) return os_error("memfd_create");
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) < 0) return os_error("size memfd");
    if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        return os_error("seal memfd");
    }
    return fd;
}

}  // namespace holdfast
