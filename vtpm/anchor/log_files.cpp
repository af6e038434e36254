// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/log_files.hpp"

#include <cerrno>

#include <unistd.h>

namespace holdfast::anchor {
namespace {

constexpr std::uint64_t kMaxLogBytes = 512ULL << 20;
constexpr std::uint64_t kStep = 1ULL << 20;

Result<void> write_at(const UniqueFd& fd, std::span<const std::byte> in, std::uint64_t offset) {
    while (!in.empty()) {
        const ssize_t written = ::pwrite(fd.get(), in.data(), in.size(), static_cast<off_t>(offset));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return os_error("write the anchor's log");
        in = in.subspan(static_cast<std::size_t>(written));
        offset += static_cast<std::uint64_t>(written);
    }
    return {};
}

}  // namespace

Result<std::vector<std::byte>> DiskLogFiles::read(std::uint32_t file) {
    const auto size = HF_TRY(file_size(files_[file]));
    if (size > kMaxLogBytes) return input_error("the anchor's log is larger than any that it writes");
    std::vector<std::byte> bytes(size);
    HF_TRY(pread_exact(files_[file], bytes, 0));
    return bytes;
}

Result<void> DiskLogFiles::empty(std::uint32_t file) {
    if (::ftruncate(files_[file].get(), 0) != 0) return os_error("empty the anchor's log");
    ends_[file] = allocated_[file] = 0;
    return {};
}

Result<void> DiskLogFiles::append(std::uint32_t file, std::span<const std::byte> bytes) {
    if (ends_[file] + bytes.size() > kMaxLogBytes) return input_error("the anchor's log is full");
    if (ends_[file] + bytes.size() > allocated_[file]) {
        const std::vector<std::byte> zeros((bytes.size() / kStep + 1) * kStep);
        HF_TRY(write_at(files_[file], zeros, allocated_[file]));
        allocated_[file] += zeros.size();
    }
    HF_TRY(write_at(files_[file], bytes, ends_[file]));
    ends_[file] += bytes.size();
    return {};
}

Result<void> DiskLogFiles::sync(std::uint32_t file) {
    if (::fdatasync(files_[file].get()) != 0) return os_error("sync the anchor's log");
    return {};
}

}  // namespace holdfast::anchor
