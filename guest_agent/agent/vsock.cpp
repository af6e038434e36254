// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/vsock.hpp"

// Before <linux/vm_sockets.h>, which needs its sockaddr.
#include <sys/socket.h>

#include <linux/vm_sockets.h>

namespace holdfast::agent {
namespace {

sockaddr_vm address_of(std::uint32_t cid, std::uint32_t port) {
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = cid;
    address.svm_port = port;
    return address;
}

const sockaddr* generic(const sockaddr_vm& address) {
    // SAFETY: the sockets API takes every address family through this one type.
    return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

Result<UniqueFd> listen_vsock(std::uint32_t port) {
    UniqueFd fd{::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return os_error("socket of vsock");
    const sockaddr_vm address = address_of(VMADDR_CID_ANY, port);
    if (::bind(fd.get(), generic(address), sizeof address) < 0) return os_error("bind vsock");
    if (::listen(fd.get(), 4) < 0) return os_error("listen on vsock");
    return fd;
}

Result<UniqueFd> accept_host(const UniqueFd& listener) {
    sockaddr_vm peer{};
    socklen_t size = sizeof peer;
    // SAFETY: as generic().
    UniqueFd fd{
        ::accept4(listener.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!fd) return os_error("accept on vsock");
    // A program in the guest reaches this socket over loopback; it may ask the agent by other means.
    if (peer.svm_cid != VMADDR_CID_HOST) return peer_fault("a connection that is not the host's");
    return fd;
}

Result<UniqueFd> connect_host(std::uint32_t port) {
    UniqueFd fd{::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd) return os_error("socket of vsock");
    const sockaddr_vm address = address_of(VMADDR_CID_HOST, port);
    if (::connect(fd.get(), generic(address), sizeof address) < 0) return os_error("connect to the host");
    return fd;
}

}  // namespace holdfast::agent
