// SPDX-License-Identifier: Apache-2.0
// What a request costs on its way through the shared ring, holdfast-io in its jail, and back: ring
// round trips that touch no disk, and 4 KiB random reads of a file in the page cache, at a depth.
// Beside it the same reads by this thread, without a ring.
#include <memory>
#include <random>

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/must.hpp"
#include "sys/process.hpp"
#include "sys/socket.hpp"
#include "vmm/io/client.hpp"
#include "vmm/io/launch.hpp"
#include "vmm/io/ring.hpp"

namespace {

using namespace holdfast;

constexpr std::uint64_t kDiskBytes = 256ULL << 20;
constexpr std::uint32_t kBlock = 4096;

UniqueFd filled_file() {
    UniqueFd fd{::open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    check(static_cast<bool>(fd), "temporary file");
    const std::vector<std::byte> block(1 << 20, std::byte{1});
    for (std::uint64_t at = 0; at < kDiskBytes; at += block.size()) must(write_all(fd, block));
    return fd;
}

/// A running holdfast-io with one read-only disk.
class Process {
public:
    Process() {
        const auto memory = must(sealed_memfd("bench-ring", io::kSharedBytes));
        const auto requests = must(EventFd::create());
        const auto completions = must(EventFd::create());
        client = must(io::Client::create(memory, EventFd{must(requests.fd().duplicate())},
                                         EventFd{must(completions.fd().duplicate())}));
        io::LaunchConfig config;
        config.memory = must(memory.duplicate());
        config.requests = must(requests.fd().duplicate());
        config.completions = must(completions.fd().duplicate());
        auto console = must(socket_pair(SOCK_STREAM));
        console_ = std::move(console.first);
        config.console_guest = std::move(console.second);
        config.console_listener = UniqueFd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const sockaddr address{.sa_family = AF_UNIX, .sa_data = {}};  // autobind: unix(7)
        check(::bind(config.console_listener.get(), &address, sizeof(sa_family_t)) == 0 &&
                  ::listen(config.console_listener.get(), 1) == 0,
              "listen");
        config.console_log = UniqueFd{::open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
        file = filled_file();
        config.disks.push_back(
            {.file = must(file.duplicate()), .size_bytes = kDiskBytes, .read_only = true, .direct = false});
        auto handover = must(socket_pair(SOCK_SEQPACKET));
        child_ = must(Child::start(HF_IO_PROGRAM, {}, handover.second, {}));
        handover_ = std::move(handover.first);
        must(io::send_launch(handover_, config));
        const auto report = must(io::receive_report(handover_));
        check(report && std::holds_alternative<io::Ready>(*report), "holdfast-io is not ready");
    }
    io::Completion next() {
        for (;;) {
            if (auto completion = must(client->next_completion())) return std::move(*completion);
            if (!client->arm()) continue;
            pollfd entry{client->completions().fd().get(), POLLIN, 0};
            ::poll(&entry, 1, -1);
            client->completions().drain();
        }
    }
    std::unique_ptr<io::Client> client;
    UniqueFd file;

private:
    UniqueFd console_;
    UniqueFd handover_;
    Child child_;
};

Process& process() {
    static Process instance;
    return instance;
}

void ring_round_trip(benchmark::State& state) {
    Process& io = process();
    const auto depth = static_cast<int>(state.range(0));
    for ([[maybe_unused]] auto _ : state) {
        for (int i = 0; i < depth; ++i) {
            io::Request request{.op = io::Op::Flush};  // of a read-only disk: nothing to do
            check(io.client->submit(request), "ring is full");
        }
        io.client->flush();
        for (int i = 0; i < depth; ++i) static_cast<void>(io.next());
    }
    state.SetItemsProcessed(state.iterations() * depth);
}
BENCHMARK(ring_round_trip)->Arg(1)->Arg(32)->UseRealTime();

void random_read(benchmark::State& state) {
    Process& io = process();
    const auto depth = static_cast<int>(state.range(0));
    std::minstd_rand random{1};
    const auto start = [&] {
        auto slot = io.client->take_slot();
        check(slot.has_value(), "no slot");
        io::Request request{.op = io::Op::Read,
                            .offset = random() % (kDiskBytes / kBlock) * kBlock,
                            .length = kBlock,
                            .slot = std::move(*slot)};
        check(io.client->submit(request), "ring is full");
    };
    for (int i = 1; i < depth; ++i) start();
    for ([[maybe_unused]] auto _ : state) {
        start();
        io.client->flush();
        auto completion = io.next();
        benchmark::DoNotOptimize(completion.slot.bytes(kBlock)[0]);
    }
    for (int i = 1; i < depth; ++i) static_cast<void>(io.next());
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(random_read)->Arg(1)->Arg(32)->UseRealTime();

void random_read_without_a_ring(benchmark::State& state) {
    Process& io = process();
    std::minstd_rand random{1};
    alignas(4096) std::array<std::byte, kBlock> block;
    for ([[maybe_unused]] auto _ : state) {
        const auto at = static_cast<off_t>(random() % (kDiskBytes / kBlock) * kBlock);
        benchmark::DoNotOptimize(::pread(io.file.get(), block.data(), block.size(), at));
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(random_read_without_a_ring)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
