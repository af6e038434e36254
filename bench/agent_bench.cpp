// SPDX-License-Identifier: Apache-2.0
// What the agent's pieces cost beside the bare thing: a call and its reply over a socket, clear and sealed;
// setting up an attested channel beside plain mutual TLS 1.3 (stand-ins for evidence, so without TPM time),
// and its bulk beside TLS; an epoch of a group of 16. Medians of turns in one run. docs/measurements.md,
// "Agent".
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include "bench/must.hpp"
#include "guest_agent/call/session.hpp"
#include "guest_agent/channel/channel.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "guest_agent/group/member.hpp"
#include "sys/socket.hpp"

namespace holdfast::agent {
namespace {

using Clock = std::chrono::steady_clock;

double micros(Clock::duration took) { return std::chrono::duration<double, std::micro>(took).count(); }

template <typename Run>
double once(Run run) {
    const auto start = Clock::now();
    run();
    return micros(Clock::now() - start);
}

void print_row(const std::string& what, std::vector<double> took) {
    std::ranges::sort(took);
    std::printf("%-26s %10.1f us  (%.1f..%.1f, %zu turns)\n", ("agent." + what).c_str(),
                took[took.size() / 2], took.front(), took.back(), took.size());
}

channel::Deadline soon() { return Clock::now() + std::chrono::seconds{60}; }

// Calls

void read_exactly(const UniqueFd& fd, std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t got = ::read(fd.get(), out.data(), out.size());
        check(got > 0, "read");
        out = out.subspan(static_cast<std::size_t>(got));
    }
}

call::Frame read_frame(const UniqueFd& fd) {
    call::HeaderBytes head{};
    read_exactly(fd, head);
    call::Frame frame{.header = must(call::decode(head)), .head = head, .body = {}};
    frame.body.resize(frame.header.length);
    read_exactly(fd, frame.body);
    return frame;
}

struct Pair {
    call::Endpoint near;
    call::Endpoint far;
};

Pair sealed_pair() {
    const Key shared = random_key();
    auto one = must(
        call::Handshake::create({.side = call::Side::Caller, .own_name = "a", .peer_name = "b"}, shared));
    auto two = must(
        call::Handshake::create({.side = call::Side::Called, .own_name = "b", .peer_name = "a"}, shared));
    const auto frame = [](Bytes bytes) {
        call::FrameReader reader;
        return std::move(*must(reader.take(bytes)));
    };
    const auto hello_one = frame(one.hello());
    const auto hello_two = frame(two.hello());
    return {.near = must(std::move(one).finish(hello_two)), .far = must(std::move(two).finish(hello_one))};
}

void bench_calls(std::size_t size, int turns) {
    auto wires = must(socket_pair(SOCK_STREAM));
    UniqueFd& near = wires.first;
    UniqueFd& far = wires.second;
    const std::vector<std::byte> body(size);
    std::array<Pair, 2> pairs{Pair{call::Endpoint::with_host(), call::Endpoint::with_host()}, sealed_pair()};
    std::thread peer{[&] {
        std::vector<std::byte> bare(size + 1);
        for (int turn = 0; turn < turns; ++turn) {
            read_exactly(far, bare);
            must(write_all(far, bare));
            for (Pair& pair : pairs) {
                const auto incoming = must(pair.far.receive(read_frame(far)));
                const auto& request = std::get<call::Request>(incoming);
                must(write_all(far, must(pair.far.reply(request.id, request.body.bytes()))));
            }
        }
    }};
    std::vector<double> bare_took;
    std::array<std::vector<double>, 2> took;
    std::vector<std::byte> bare(size + 1);
    for (int turn = 0; turn < turns; ++turn) {
        bare_took.push_back(once([&] {
            must(write_all(near, bare));
            read_exactly(near, bare);
        }));
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            took[i].push_back(once([&] {
                must(write_all(near, must(pairs[i].near.request(1, 1, body)).bytes));
                std::ignore = must(pairs[i].near.receive(read_frame(near)));
            }));
        }
    }
    peer.join();
    const std::string bytes = std::to_string(size);
    print_row("call.bare." + bytes, bare_took);
    print_row("call.clear." + bytes, took[0]);
    print_row("call.sealed." + bytes, took[1]);
}

// Channels

channel::Appraisal no_evidence() {
    return {.make = [](const Digest256&) -> Result<std::vector<std::byte>> {
                return std::vector<std::byte>(4096);
            },
            .judge = [](const Digest256&, Bytes) -> Result<void> { return {}; }};
}

void bench_channel(int turns) {
    const auto ann = must(channel::TlsIdentity::create());
    const auto bob = must(channel::TlsIdentity::create());
    const channel::Appraisal appraisal = no_evidence();
    std::vector<double> plain;
    std::vector<double> attested;
    for (int turn = 0; turn < turns; ++turn) {
        for (const bool with_evidence : {false, true}) {
            auto wires = must(socket_pair(SOCK_STREAM));
            UniqueFd& near = wires.first;
            UniqueFd& far = wires.second;
            std::thread peer{[&] {
                auto stream = must(channel::TlsStream::accept(std::move(far), bob, soon()));
                if (with_evidence) {
                    std::ignore = must(channel::Channel::create(std::move(stream), bob, appraisal, soon()));
                    return;
                }
                std::array<std::byte, 1> byte{};
                must(stream.read(byte, soon()));
                must(stream.write(byte, soon()));
            }};
            (with_evidence ? attested : plain).push_back(once([&] {
                auto stream = must(channel::TlsStream::connect(std::move(near), ann, std::nullopt, soon()));
                if (with_evidence) {
                    std::ignore = must(channel::Channel::create(std::move(stream), ann, appraisal, soon()));
                    return;
                }
                std::array<std::byte, 1> byte{};
                must(stream.write(byte, soon()));
                must(stream.read(byte, soon()));
            }));
            peer.join();
        }
    }
    print_row("channel.tls", plain);
    print_row("channel.attested", attested);
}

void bench_bulk(int turns) {
    constexpr std::size_t kPiece = 64U << 10;
    constexpr int kPieces = 512;
    const auto ann = must(channel::TlsIdentity::create());
    const auto bob = must(channel::TlsIdentity::create());
    const channel::Appraisal appraisal = no_evidence();
    std::vector<double> plain;
    std::vector<double> attested;
    const std::vector<std::byte> piece(kPiece);
    for (int turn = 0; turn < turns; ++turn) {
        auto wires = must(socket_pair(SOCK_STREAM));
        UniqueFd& near = wires.first;
        UniqueFd& far = wires.second;
        std::thread peer{[&] {
            auto stream = must(channel::TlsStream::accept(std::move(far), bob, soon()));
            std::vector<std::byte> room(kPiece);
            for (int i = 0; i < kPieces; ++i) must(stream.read(room, soon()));
            must(stream.write(Bytes{room}.first(1), soon()));
            auto over = must(channel::Channel::create(std::move(stream), bob, appraisal, soon()));
            for (int i = 0; i < kPieces; ++i) std::ignore = must(over.receive(soon()));
            must(over.send({}, soon()));
        }};
        auto stream = must(channel::TlsStream::connect(std::move(near), ann, std::nullopt, soon()));
        std::array<std::byte, 1> byte{};
        plain.push_back(once([&] {
            for (int i = 0; i < kPieces; ++i) must(stream.write(piece, soon()));
            must(stream.read(byte, soon()));
        }));
        auto over = must(channel::Channel::create(std::move(stream), ann, appraisal, soon()));
        attested.push_back(once([&] {
            for (int i = 0; i < kPieces; ++i) must(over.send(piece, soon()));
            std::ignore = must(over.receive(soon()));
        }));
        peer.join();
    }
    print_row("bulk.tls", plain);
    print_row("bulk.attested", attested);
}

// Groups

struct Anybody final : group::Admission {
    Result<void> judge(const Digest256& /*binding*/, const group::KeyPackage& /*package*/) override {
        return {};
    }
};
struct Counter final : group::EpochWitness {
    Result<std::uint64_t> value() override { return count; }
    Result<std::uint64_t> advance() override { return ++count; }
    std::uint64_t count = 0;
};

void bench_group(std::size_t members, int turns) {
    Anybody anybody;
    std::vector<Counter> counters(members);
    const auto evidence = [](const Digest256&) -> Result<std::vector<std::byte>> {
        return std::vector<std::byte>(64);
    };
    std::vector<group::Member> all;
    all.push_back(must(group::Member::found({.name = "m0"}, evidence, anybody, counters[0])));
    std::vector<group::Applicant> applicants;
    std::vector<std::vector<std::byte>> packages;
    for (std::size_t i = 1; i < members; ++i) {
        applicants.push_back(
            must(group::Applicant::create({.name = "m" + std::to_string(i)}, all[0].transcript(), evidence)));
        packages.push_back(applicants.back().package());
    }
    const auto first = must(all[0].commit({}, packages));
    std::ignore = must(all[0].receive(first.commit));
    for (std::size_t i = 1; i < members; ++i) {
        all.push_back(must(group::Member::join(std::move(applicants[i - 1]), first.welcome, first.commit,
                                               anybody, counters[i])));
    }
    std::vector<double> everything;
    std::vector<double> committing;
    for (int turn = 0; turn < turns; ++turn) {
        everything.push_back(once([&] {
            for (auto& from : all) {
                for (auto& to : all) {
                    if (from.id() != to.id()) std::ignore = must(to.receive(from.ready()));
                }
            }
            group::CommitMessages messages;
            committing.push_back(once([&] { messages = must(all[0].commit({}, {})); }));
            for (auto& member : all) std::ignore = must(member.receive(messages.commit));
        }));
    }
    const std::string of = std::to_string(members);
    print_row("commit." + of, committing);
    print_row("epoch." + of, everything);
}

}  // namespace
}  // namespace holdfast::agent

int main(int argc, char** argv) {
    using namespace holdfast::agent;
    std::signal(SIGPIPE, SIG_IGN);
    const int turns = argc > 1 ? std::atoi(argv[1]) : 200;
    if (turns < 1) {
        std::fputs("usage: bench-agent [TURNS]\n", stderr);
        return 2;
    }
    for (const std::size_t size : {std::size_t{0}, std::size_t{64} << 10}) bench_calls(size, turns * 10);
    bench_channel(turns);
    bench_bulk(std::max(turns / 20, 3));
    bench_group(16, std::max(turns / 10, 3));
}
