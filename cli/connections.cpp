// SPDX-License-Identifier: Apache-2.0
#include "cli/connections.hpp"

#include <sys/socket.h>

#include "sys/thread.hpp"

namespace holdfast::cli {

Connections::~Connections() {
    for (const Connection& connection : all_) ::shutdown(connection.socket.get(), SHUT_RDWR);
}

bool Connections::take(UniqueFd socket, Serve serve) {
    all_.remove_if([](const Connection& connection) { return connection.is_over.load(); });
    if (all_.size() >= most_) return false;
    Connection& connection = all_.emplace_back();
    connection.socket = std::move(socket);
    connection.thread = named_thread("connection", [&connection, serve = std::move(serve)] {
        serve(connection.socket);
        ::shutdown(connection.socket.get(), SHUT_RDWR);
        connection.is_over = true;
    });
    return true;
}

}  // namespace holdfast::cli
