// SPDX-License-Identifier: Apache-2.0
// A guest at the broker, driven by broker_test.py over standard input: it says what a client of TLS must say
// and computes what only the end of a connection can. Lines in, one line out each:
//     challenge                    -> nonce HEX
//     binding client|server        -> binding HEX, for the last nonce of this connection
//     release NAME FILE [KEYFILE]  -> secret HEX, or refused CODE...
//     raw HEX                      -> the same, of bytes behind a right length
//     length N                     -> closed, once the broker has hung up over this announcement
//   broker_client ADDRESS PORT CERTIFICATE|- KEY|- [tls1.2]
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include "attest/broker/message.hpp"
#include "attest/channel/binding.hpp"
#include "attest/text/encoding.hpp"
#include "sys/wire/endian.hpp"

namespace {

using namespace holdfast;
using Blob = std::vector<std::byte>;

SSL* connection = nullptr;
Blob nonce;
Blob own_key;

[[noreturn]] void end(const char* why) {
    std::cout << why << std::endl;
    std::exit(0);
}

Blob spki_of(X509* certificate) {
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    const auto bytes = std::as_bytes(std::span{der, static_cast<std::size_t>(size)});
    return {bytes.begin(), bytes.end()};
}

void put(std::span<const std::byte> bytes) {
    if (!bytes.empty() && SSL_write(connection, bytes.data(), static_cast<int>(bytes.size())) <= 0)
        end("closed");
}

Blob take(std::size_t size) {
    Blob bytes(size);
    for (std::size_t at = 0; at < size;) {
        const int got = SSL_read(connection, bytes.data() + at, static_cast<int>(size - at));
        if (got <= 0) end("closed");
        at += static_cast<std::size_t>(got);
    }
    return bytes;
}

Blob ask(std::span<const std::byte> message) {
    const Be<std::uint32_t> size{static_cast<std::uint32_t>(message.size())};
    put(std::as_bytes(std::span{&size, 1}));
    put(message);
    Be<std::uint32_t> length;
    const Blob head = take(sizeof length);
    std::memcpy(&length, head.data(), sizeof length);
    return take(length.get());
}

void tell(const Blob& message) {
    const auto answer = attest::broker::decode_answer(message);
    if (!answer) end("unreadable");
    if (!answer->nonce.empty()) {
        nonce.assign(answer->nonce.begin(), answer->nonce.end());
        std::cout << "nonce " << hex(answer->nonce) << std::endl;
    } else if (!answer->refused.empty()) {
        std::cout << "refused";
        for (const auto code : answer->refused) std::cout << ' ' << code;
        std::cout << std::endl;
    } else {
        std::cout << "secret " << hex(answer->secret) << std::endl;
    }
}

Blob file(const std::string& path) {
    std::ifstream stream{path, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{stream}, {}};
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

std::string binding(const std::string& role) {
    std::array<std::byte, attest::kExporterBytes> exporter{};
    SSL_export_keying_material(connection, reinterpret_cast<unsigned char*>(exporter.data()), exporter.size(),
                               attest::kExporterLabel.data(), attest::kExporterLabel.size(), nullptr, 0, 0);
    X509* const peer = SSL_get1_peer_certificate(connection);
    const Blob peer_key = spki_of(peer);
    X509_free(peer);
    const bool client = role == "client";
    const auto bound =
        attest::channel_binding({.role = client ? attest::ChannelRole::Client : attest::ChannelRole::Server,
                                 .nonce = nonce,
                                 .exporter = exporter,
                                 .own_key = client ? own_key : peer_key,
                                 .peer_key = client ? peer_key : own_key});
    return bound ? hex(*bound) : "none";
}

void obey(const std::string& line) {
    std::istringstream words{line};
    std::string verb;
    std::string name;
    std::string path;
    words >> verb >> name >> path;
    if (verb == "challenge") {
        tell(ask(attest::broker::encode(attest::broker::Request{})));
    } else if (verb == "binding") {
        std::cout << "binding " << binding(name) << std::endl;
    } else if (verb == "release") {
        std::string key_path;
        words >> key_path;
        const Blob evidence = file(path);
        const Blob key = key_path.empty() ? own_key : file(key_path);
        tell(ask(attest::broker::encode(
            {.op = attest::broker::Op::Release, .name = name, .key = key, .evidence = evidence})));
    } else if (verb == "raw") {
        tell(ask(*attest::bytes_of_hex(name)));
    } else if (verb == "length") {
        const Be<std::uint32_t> size{static_cast<std::uint32_t>(std::stoul(name))};
        put(std::as_bytes(std::span{&size, 1}));
        take(1);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    std::signal(SIGPIPE, SIG_IGN);  // a broker that hangs up is told as such
    SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
    if (words.size() > 4) SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    if (words[2] != "-" && (SSL_CTX_use_certificate_chain_file(context, words[2].c_str()) != 1 ||
                            SSL_CTX_use_PrivateKey_file(context, words[3].c_str(), SSL_FILETYPE_PEM) != 1)) {
        end("no certificate");
    }
    own_key = words[2] != "-" ? spki_of(SSL_CTX_get0_certificate(context)) : Blob(91);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(words[1])));
    ::inet_pton(AF_INET, words[0].c_str(), &address.sin_addr);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) end("no connection");
    connection = SSL_new(context);
    SSL_set_fd(connection, fd);
    if (SSL_connect(connection) != 1) end("no tls");
    std::cout << "connected " << (SSL_session_reused(connection) == 1 ? "again" : "anew") << std::endl;
    for (std::string line; std::getline(std::cin, line);) obey(line);
    return 0;
}
