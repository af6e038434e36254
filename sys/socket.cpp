// SPDX-License-Identifier: Apache-2.0
#include "sys/socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace holdfast {
namespace {

using ControlBuffer = std::array<std::byte, CMSG_SPACE(sizeof(int) * kMaxMessageFds)>;

Result<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return input_error("socket path is empty or too long (107 bytes)");
    }
    std::ranges::copy(path, address.sun_path);
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    // SAFETY: the sockets API takes every address family through this one type.
    return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> socket_pair(int type) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) < 0) return os_error("socketpair");
    return std::pair{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

Result<UniqueFd> listen_unix(const std::string& path, int type) {
    const sockaddr_un address = HF_TRY(unix_address(path));
    UniqueFd fd{::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return os_error("socket");
    // On Linux the mode of the inode is that of the descriptor less the umask (unix(7)).
    if (::fchmod(fd.get(), 0600) < 0) return os_error("fchmod socket");
    if (::bind(fd.get(), generic(address), sizeof address) < 0) return os_error("bind socket");
    if (::listen(fd.get(), 16) < 0) return os_error("listen");
    return fd;
}

Result<UniqueFd> connect_unix(const std::string& path, int type) {
    const sockaddr_un address = HF_TRY(unix_address(path));
    UniqueFd fd{::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)};
    if (!fd) return os_error("socket");
    if (::connect(fd.get(), generic(address), sizeof address) < 0) return os_error("connect");
    return fd;
}

Result<UniqueFd> accept_unix(const UniqueFd& listener) {
    UniqueFd fd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!fd) return os_error("accept");
    return fd;
}

Result<void> send_message(const UniqueFd& socket, std::span<const std::byte> bytes,
                          std::span<const int> fds) {
    check(fds.size() <= kMaxMessageFds, "too many descriptors in a message");
    iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    alignas(cmsghdr) ControlBuffer control{};
    if (!fds.empty()) {
        header.msg_control = control.data();
        header.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* const rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
    }
    ssize_t sent = -1;
    do {
        sent = ::sendmsg(socket.get(), &header, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return os_error("send message");
    return {};
}

Result<Message> receive_message(const UniqueFd& socket, std::size_t max_bytes) {
    Message message;
    message.bytes.resize(max_bytes);
    iovec data{message.bytes.data(), message.bytes.size()};
    alignas(cmsghdr) ControlBuffer control{};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t got = -1;
    do {
        got = ::recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return os_error("receive message");
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof fd);
            message.fds.emplace_back(fd);
        }
    }
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return peer_fault("message too long");
    message.bytes.resize(static_cast<std::size_t>(got));
    return message;
}

}  // namespace holdfast
