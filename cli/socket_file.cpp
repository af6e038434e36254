// SPDX-License-Identifier: Apache-2.0
#include "cli/socket_file.hpp"

#include <cerrno>
#include <filesystem>

#include <unistd.h>

#include "sys/socket.hpp"

namespace holdfast::cli {

SocketFile::~SocketFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
}

Result<UniqueFd> listen_anew(const std::string& path, int type) {
    auto listener = listen_unix(path, type);
    if (listener || listener.error().os_errno != EADDRINUSE || connect_unix(path, type)) return listener;
    std::error_code failed;
    if (std::filesystem::is_socket(path, failed) && std::filesystem::remove(path, failed)) {
        return listen_unix(path, type);
    }
    return listener;
}

}  // namespace holdfast::cli
