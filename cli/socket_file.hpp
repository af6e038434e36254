// SPDX-License-Identifier: Apache-2.0
// Unix sockets that have a place in the file system.
#pragma once

#include <string>
#include <utility>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// A Unix socket's file, removed with its owner.
class SocketFile {
public:
    SocketFile() noexcept = default;
    explicit SocketFile(std::string path) noexcept : path_{std::move(path)} {}
    SocketFile(SocketFile&& other) noexcept : path_{std::exchange(other.path_, {})} {}
    SocketFile& operator=(SocketFile&& other) noexcept {
        std::swap(path_, other.path_);
        return *this;
    }
    ~SocketFile();
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

/// Listens at `path` also where a process that was killed left its socket: where nobody listens, it is in
/// nobody's use. `type`: SOCK_STREAM or SOCK_SEQPACKET.
[[nodiscard]] Result<UniqueFd> listen_anew(const std::string& path, int type);

}  // namespace holdfast::cli
