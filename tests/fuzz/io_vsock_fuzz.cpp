// SPDX-License-Identifier: Apache-2.0
// The host side of vsock between a hostile guest and hostile host programs, in any order of events.
#include <array>
#include <deque>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/fd.hpp"
#include "sys/log.hpp"
#include "sys/socket.hpp"
#include "tests/fuzz/input.hpp"
#include "vmm/io/client.hpp"
#include "vmm/io/vsock.hpp"

namespace {

using namespace holdfast;

template <typename T>
T must(Result<T> result) {
    check(result.has_value(), "fuzz target cannot start");
    return std::move(*result);
}

struct Host final : io::VsockHost {
    std::vector<std::uint32_t> watched;
    std::deque<std::uint32_t> asked;
    Result<void> watch_stream(const UniqueFd&, std::uint32_t id) override {
        watched.push_back(id);
        return {};
    }
    Result<void> ask_for_connection(const io::VsockConnect& request) override {
        if (asked.size() >= 16) return peer_fault("busy");
        asked.push_back(request.token);
        return {};
    }
};

struct Machine {
    static const UniqueFd& memory() {
        static const UniqueFd fd = must(sealed_memfd("fuzz-vsock", io::kSharedBytes));
        return fd;
    }
    static void clear() {
        static const io::SharedMemory raw = must(io::SharedMemory::map(memory()));
        std::memset(static_cast<void*>(&raw.rings()), 0, sizeof raw.rings());
    }
    static UniqueFd anonymous_listener() {
        UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        sockaddr address{.sa_family = AF_UNIX, .sa_data = {}};  // autobind: unix(7)
        check(::bind(fd.get(), &address, sizeof(sa_family_t)) == 0 && ::listen(fd.get(), 16) == 0, "listen");
        return fd;
    }

    UniqueFd listener = anonymous_listener();
    std::unique_ptr<io::Client> client =
        must(io::Client::create(memory(), must(EventFd::create()), must(EventFd::create())));
    io::RequestRing ring =
        must(io::RequestRing::create(memory(), must(EventFd::create()), must(EventFd::create())));
    Host host;
    io::Vsock vsock = must(io::Vsock::create(must(listener.duplicate()), ring, host));
    io::Vsock::Clock::time_point now = io::Vsock::Clock::now();
    std::deque<UniqueFd> programs;
    std::uint32_t last_host_port = 0;

    void connect_program(fuzz::Input& input) {
        sockaddr_storage address{};
        socklen_t size = sizeof address;
        // SAFETY: the sockets API takes every address family through this one type.
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        ::getsockname(listener.get(), generic, &size);
        UniqueFd program{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        if (::connect(program.get(), generic, size) < 0) return;
        const bool proper = input.take<std::uint8_t>() % 2 == 0;
        const std::string_view greeting = "CONNECT 1\n";
        const auto bytes = proper ? std::as_bytes(std::span{greeting}) : input.take_bytes(40);
        static_cast<void>(::send(program.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
        keep(std::move(program));
        vsock.listener_event();
    }
    void keep(UniqueFd program) {
        if (programs.size() >= 16) programs.pop_front();
        programs.push_back(std::move(program));
    }
    void answer(bool grant) {
        if (host.asked.empty()) return;
        io::VsockAnswer reply{.token = host.asked.front(), .stream = {}};
        host.asked.pop_front();
        if (grant) {
            auto pair = must(socket_pair(SOCK_STREAM));
            must_void(set_nonblocking(pair.first));
            keep(std::move(pair.first));
            reply.stream = std::move(pair.second);
        }
        vsock.answer(std::move(reply), now);
    }
    static void must_void(const Result<void>& result) { check(result.has_value(), "fuzz target"); }

    void send_packet(fuzz::Input& input) {
        const std::uint8_t shape = input.take<std::uint8_t>();
        const std::uint16_t op = shape % 9;
        const std::size_t payload = (shape & 0x80) != 0 ? 40'000 : (shape & 0x40) != 0 ? 100 : 0;
        io::VsockPacket header{.src_port = input.take<std::uint8_t>() % 4U,
                               .dst_port = input.take<std::uint8_t>() % 2U == 0 ? 1U : last_host_port,
                               .len = static_cast<std::uint32_t>(payload),
                               .flags = input.take<std::uint8_t>() % 4U,
                               .buf_alloc = 65536U,
                               .op = op,
                               .type = io::vsock::TYPE_STREAM};
        if ((shape & 0x20) != 0) {  // anything at all
            const auto bytes = input.take_bytes(sizeof header);
            if (!bytes.empty()) std::memcpy(&header, bytes.data(), bytes.size());
        }
        auto slot = client->take_slot();
        if (!slot) return;
        const auto bytes = slot->bytes(sizeof header + payload);
        std::memcpy(bytes.data(), &header, sizeof header);
        io::Request request{.op = io::Op::Send,
                            .resource = io::kVsock,
                            .length = static_cast<std::uint32_t>(bytes.size()),
                            .slot = std::move(*slot)};
        static_cast<void>(client->submit(request));
    }
    void give_buffer(fuzz::Input& input) {
        auto slot = client->take_slot();
        if (!slot) return;
        io::Request request{.op = io::Op::Receive,
                            .resource = io::kVsock,
                            .length = input.take<std::uint16_t>(),
                            .slot = std::move(*slot)};
        static_cast<void>(client->submit(request));
    }
    void use_program(fuzz::Input& input) {
        if (programs.empty()) return;
        const std::uint8_t what = input.take<std::uint8_t>();
        UniqueFd& program = programs[what / 8 % programs.size()];
        std::array<std::byte, 4096> bytes{};
        switch (what % 4) {
            case 0: static_cast<void>(::send(program.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL)); break;
            case 1: static_cast<void>(::recv(program.get(), bytes.data(), bytes.size(), 0)); break;
            case 2: ::shutdown(program.get(), what % 3); break;
            default: programs.erase(programs.begin() + what / 8 % static_cast<int>(programs.size())); break;
        }
    }
    void serve() {
        client->flush();
        // As many as the ring holds; bounded, because nothing puts more meanwhile.
        while (const auto job = must(ring.take())) vsock.start(*job, now);
        int turns = 0;
        while (vsock.turn(now)) check(++turns < 1000, "a turn without end");
        ring.publish();
        while (auto completion = must(client->next_completion())) {
            if (completion->op != io::Op::Receive || completion->status != io::Status::Ok) continue;
            io::VsockPacket header;
            const auto bytes = completion->slot.bytes(completion->length);
            check(bytes.size() >= sizeof header, "packet for the guest without a header");
            std::memcpy(&header, bytes.data(), sizeof header);
            check(header.len.get() == bytes.size() - sizeof header,
                  "packet for the guest with a wrong length");
            if (header.op.get() == io::vsock::OP_REQUEST) last_host_port = header.src_port.get();
        }
        check(vsock.connections() <= io::Vsock::kMaxConnections, "too many connections");
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    log::configure("fuzz", log::Level::Error);
    Machine::clear();
    Machine machine;
    fuzz::Input input{data, size};
    for (int step = 0; step < 400 && !input.empty(); ++step) {
        switch (input.take<std::uint8_t>() % 10) {
            case 0: machine.connect_program(input); break;
            case 1: machine.answer(true); break;
            case 2: machine.answer(false); break;
            case 3:
            case 4: machine.send_packet(input); break;
            case 5:
            case 6: machine.give_buffer(input); break;
            case 7: machine.use_program(input); break;
            case 8: machine.now += std::chrono::milliseconds{input.take<std::uint16_t>()}; break;
            default:
                for (const std::uint32_t id : machine.host.watched) {
                    machine.vsock.event(id,
                                        input.take<std::uint8_t>() % 4 == 0 ? EPOLLHUP : EPOLLIN | EPOLLOUT);
                }
        }
        machine.serve();
    }
    return 0;
}
