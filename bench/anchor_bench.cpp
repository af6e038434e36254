// SPDX-License-Identifier: Apache-2.0
// What group commit buys: the real server, clerk, protocol and log on a disk, with a TPM whose increments
// take as long as said. Prints one row a latency and number of vTPMs, each of which stores again as soon as
// it was answered; `alone` is the same with one increment a commit. docs/measurements.md, "Anchor".
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include "bench/must.hpp"
#include "sys/socket.hpp"
#include "tests/anchor/storm.hpp"
#include "vtpm/anchor/server.hpp"

namespace holdfast::anchor {
namespace {

using Clock = std::chrono::steady_clock;

class SlowCounters final : public Counters {
public:
    explicit SlowCounters(std::chrono::milliseconds latency) : latency_{latency} {}
    std::expected<void, Refusal> fence() override { return {}; }
    Result<Reading> read() override { return at_; }
    Result<void> advance_o() override {
        if (latency_.count() > 0) std::this_thread::sleep_for(latency_);
        ++at_.o;
        return {};
    }
    Result<void> advance_s() override {
        ++at_.s;
        return {};
    }
    Result<Certificate> certify(const Digest&) override { return Certificate{}; }
    [[nodiscard]] std::uint64_t jump_bits() const noexcept override { return 255; }

private:
    std::chrono::milliseconds latency_;
    Reading at_{.o = 1, .s = 1};
};

struct Bench {
    std::filesystem::path folder;
    SlowCounters counters;
    SecretBytes key = must(SecretBytes::create(32));
    std::unique_ptr<DiskLogFiles> files;
    std::unique_ptr<Anchor> anchor;
    std::unique_ptr<Clerk> clerk;

    Bench(const std::string& where, std::chrono::milliseconds latency) : counters{latency} {
        std::string pattern = where + "/holdfast-bench-XXXXXX";
        folder = ::mkdtemp(pattern.data());
        const auto open = [&](const char* name) {
            return UniqueFd{::open((folder / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
        };
        files = std::make_unique<DiskLogFiles>(std::array{open("log.0"), open("log.1")});
        must(Anchor::found(setup(), *counters.read()));
        anchor = std::move(*Anchor::open(setup()));
        clerk = std::make_unique<Clerk>(Clerk::Setup{.anchor = *anchor,
                                                     .counters = counters,
                                                     .vm_keys = key,
                                                     .attestation_public = {},
                                                     .wear = {}},
                                        Clock::now());
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;
    ~Bench() { std::filesystem::remove_all(folder); }
    [[nodiscard]] Anchor::Setup setup() { return {.files = *files, .counters = counters, .key = key}; }
};

struct Row {
    double commits_a_second = 0;
    double p50_ms = 0;
    double p99_ms = 0;
};

/// Every vTPM stores again as soon as it was answered.
Row measure(Bench& bench, std::size_t vtpms, std::size_t rounds) {
    const std::string path = (bench.folder / "sock").string();
    auto listener = must(listen_unix(path, SOCK_SEQPACKET));
    auto [ours, theirs] = must(socket_pair(SOCK_SEQPACKET));
    auto server = must(Server::create(theirs, std::move(listener), *bench.clerk));
    std::thread thread{[&] { must(server.run()); }};
    Storm storm{path, vtpms};
    std::vector<Clock::time_point> asked(vtpms);
    const auto store = [&](std::size_t vtpm) {
        asked[vtpm] = Clock::now();
        storm.store(vtpm);
    };
    std::vector<double> latencies;
    const auto begun = Clock::now();
    for (std::size_t i = 0; i < vtpms; ++i) store(i);
    while (latencies.size() < vtpms * rounds) {
        for (const std::size_t vtpm : storm.answered()) {
            latencies.push_back(
                std::chrono::duration<double, std::milli>(Clock::now() - asked[vtpm]).count());
            if (storm.version(vtpm) < rounds) store(vtpm);
        }
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    ours.reset();
    thread.join();
    std::filesystem::remove(path);
    std::ranges::sort(latencies);
    return {static_cast<double>(latencies.size()) / seconds, latencies[latencies.size() / 2],
            latencies[latencies.size() * 99 / 100]};
}

void start_up(const std::string& where) {
    Bench bench{where, std::chrono::milliseconds{0}};
    std::vector<Leaf> leaves;
    for (std::size_t i = 0; i < 10'000; ++i) leaves.push_back({.vm = vm_id(i), .version = i});
    const auto before = ::mallinfo2().uordblks;
    must(bench.anchor->commit(leaves, Strength::Strict));
    const auto held = ::mallinfo2().uordblks - before;
    bench.clerk.reset();
    bench.anchor.reset();
    const auto begun = Clock::now();
    bench.anchor = std::move(*Anchor::open(bench.setup()));
    std::printf("anchor.start.ms %.1f ms\nanchor.leaf.bytes %zu bytes\n",
                std::chrono::duration<double, std::milli>(Clock::now() - begun).count(),
                held / leaves.size());
}

}  // namespace
}  // namespace holdfast::anchor

int main(int argc, char** argv) {
    using namespace holdfast::anchor;
    const std::string where = argc > 1 ? argv[1] : "/tmp";
    const bool quick = argc > 2 && std::string_view{argv[2]} == "--quick";
    start_up(where);
    const std::vector<int> latencies = quick ? std::vector{0, 20} : std::vector{0, 5, 20, 100};
    for (const int latency : latencies) {
        double alone = 0;
        for (const std::size_t vtpms : {1U, 16U, 256U, 1000U}) {
            Bench bench{where, std::chrono::milliseconds{latency}};
            const Row row = measure(bench, vtpms, quick || latency == 100 ? 10 : 30);
            if (vtpms == 1) alone = row.commits_a_second;
            std::printf(
                "anchor.%d.rate.%zu %.0f commits/s\nanchor.%d.p50.%zu %.2f ms\nanchor.%d.p99.%zu %.2f ms\n"
                "anchor.%d.gain.%zu %.1f x alone\nanchor.curve.%dms.%zu %.0f commits/s\n",
                latency, vtpms, row.commits_a_second, latency, vtpms, row.p50_ms, latency, vtpms, row.p99_ms,
                latency, vtpms, row.commits_a_second / alone, latency, vtpms, row.commits_a_second);
        }
    }
    return EXIT_SUCCESS;
}
