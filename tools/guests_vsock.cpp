// SPDX-License-Identifier: Apache-2.0
// vsock for test guests, since busybox has none: a connection carried between a port and the
// standard streams.
//
//   vsock connect CID PORT   standard input to the peer, the peer to standard output, until both
//   have ended vsock listen PORT        the same with the first peer that connects vsock echo PORT
//   gives every peer, one after the other, its own bytes back
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

[[noreturn]] void give_up(const char* what) {
    std::fprintf(stderr, "vsock: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

/// Moves what is there; false at the end of `from`.
bool move(int from, int to) {
    static std::array<char, 65536> buffer;
    const ssize_t got = read(from, buffer.data(), buffer.size());
    if (got < 0) give_up("read");
    for (ssize_t done = 0; done < got;) {
        const ssize_t n = write(to, buffer.data() + done, static_cast<std::size_t>(got - done));
        if (n < 0) give_up("write");
        done += n;
    }
    return got > 0;
}

void carry(int peer) {
    std::array<pollfd, 2> ends{{{STDIN_FILENO, POLLIN, 0}, {peer, POLLIN, 0}}};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
        if (poll(ends.data(), ends.size(), -1) < 0) give_up("poll");
        if (ends[0].revents != 0 && !move(STDIN_FILENO, peer)) {
            shutdown(peer, SHUT_WR);
            ends[0].fd = -1;
        }
        if (ends[1].revents != 0 && !move(peer, STDOUT_FILENO)) return;
    }
}

unsigned number(const char* text) { return static_cast<unsigned>(std::strtoul(text, nullptr, 10)); }

int listening(unsigned port) {
    const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = VMADDR_CID_ANY;
    address.svm_port = port;
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd, 16) != 0) {
        give_up("listen");
    }
    return fd;
}

int accepted(int listener) {
    const int peer = accept(listener, nullptr, nullptr);
    if (peer < 0) give_up("accept");
    return peer;
}

int connected(unsigned cid, unsigned port) {
    const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = cid;
    address.svm_port = port;
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) give_up("connect");
    return fd;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view verb = argc > 1 ? argv[1] : "";
    if (verb == "connect" && argc == 4) {
        carry(connected(number(argv[2]), number(argv[3])));
    } else if (verb == "listen" && argc == 3) {
        carry(accepted(listening(number(argv[2]))));
    } else if (verb == "echo" && argc == 3) {
        for (const int listener = listening(number(argv[2]));;) {
            const int peer = accepted(listener);
            while (move(peer, peer)) {
            }
            close(peer);
        }
    } else {
        std::fputs("usage: vsock connect CID PORT | listen PORT | echo PORT\n", stderr);
        return 2;
    }
}
