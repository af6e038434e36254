// SPDX-License-Identifier: Apache-2.0
// What the tier `software` costs, as ratios of things measured in turns in one run. A thread of this process
// stands for the vCPU: the same userfaultfd, the same faults but for what KVM adds to both sides.
//
//   bench-memory [--quick] [inside|fault|scan|zipf|seal|curve]...        all of them where none is named
//
// Prints one line `name value unit` each; bench/memory_report draws them.
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/memory/pattern.hpp"
#include "bench/memory/policies.hpp"
#include "memcrypt/software/pager.hpp"
#include "sys/spin.hpp"

namespace holdfast::bench {
namespace {

using Clock = std::chrono::steady_clock;
using memcrypt::Suite;
using namespace memcrypt::software;

template <typename T>
T must(Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "bench-memory: %s (errno %d)\n", result.error().what, result.error().os_errno);
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

double seconds_of(const std::function<void()>& work) {
    const auto began = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - began).count();
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

void say(const std::string& name, double value, const char* unit) {
    std::printf("%-44s %12.4f %s\n", name.c_str(), value, unit);
    std::fflush(stdout);
}

UniqueFd device() { return UniqueFd{::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)}; }

struct Sealed {
    Sealed(std::uint32_t pages, std::uint32_t window,
           Config config = {.seal_after = std::chrono::milliseconds{0}}) {
        config.window_bytes = window * kPageSize;
        const UniqueFd ram = must(sealed_memfd("guest-ram", pages * kPageSize));
        UniqueFd self{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U))};
        pager = must(Pager::create(must(Views::create(ram, pages * kPageSize, device(), std::move(self), 1)),
                                   {0}, config));
        // Not zeros, which would not be encrypted.
        for (std::uint32_t page = 0; page < pages; ++page) {
            std::memset(memory().data() + page * kPageSize, static_cast<int>(page % 255 + 1), kPageSize);
        }
    }
    [[nodiscard]] std::span<std::byte> memory() const { return pager->guest_view(); }
    std::unique_ptr<Pager> pager;
};

/// Memory of the tier `none`, all of it there.
struct Plain {
    explicit Plain(std::uint32_t pages) : memory{must(Mapping::anonymous(pages * kPageSize))} {
        ::madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
        std::memset(memory.data(), 1, memory.size());
    }
    Mapping memory;
};

/// A visit reads the whole page.
std::uint64_t visit(std::span<std::byte> memory, std::uint32_t page) {
    const std::byte* const at = memory.data() + page * kPageSize;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kPageSize; i += sizeof sum) {
        std::uint64_t word = 0;
        std::memcpy(&word, at + i, sizeof word);
        sum += word;
    }
    return sum;
}

std::uint64_t visit_all(std::span<std::byte> memory, Visits visits) {
    std::uint64_t sum = 0;
    for (const std::uint32_t page : visits) sum += visit(memory, page);
    return sum;
}

bool g_quick = false;  // fewer turns, and coarser for it

volatile std::uint64_t g_sink = 0;  // so that no visit is left out

double time_visits(std::span<std::byte> memory, Visits visits) {
    return seconds_of([&] { g_sink = g_sink + visit_all(memory, visits); });
}

/// Which processors this thread, and those that it makes, run on. Where the scheduler puts guest and reader
/// decides more than all that is measured here: on one processor one hands over to the other, on two each
/// must be woken. So both sides of a comparison get the same.
class Processors {
public:
    explicit Processors(unsigned which) noexcept {
        ::sched_getaffinity(0, sizeof before_, &before_);
        move_to(which);
    }
    Processors(const Processors&) = delete;
    Processors& operator=(const Processors&) = delete;
    ~Processors() { ::sched_setaffinity(0, sizeof before_, &before_); }
    /// Threads that were made before stay where they are.
    static void move_to(unsigned which) noexcept {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(which, &set);
        ::sched_setaffinity(0, sizeof set, &set);
    }

private:
    cpu_set_t before_;
};

/// The least that a fault costs: somebody hears of it and maps the page.
class BareFaults {
public:
    explicit BareFaults(std::uint32_t pages)
        : view_{must(
              Mapping::shared(ram_ = must(sealed_memfd("bare", pages * kPageSize)), pages * kPageSize))},
          frames_{must(Mapping::shared(ram_, pages * kPageSize))},
          faults_{must(Userfault::create(device()))} {
        std::memset(frames_.data(), 1, frames_.size());
        ::madvise(view_.data(), view_.size(), MADV_NOHUGEPAGE);
        must(faults_.watch(view_.bytes()));
        reader_ = std::jthread{[this](const std::stop_token& stop) { serve(stop); }};
    }
    [[nodiscard]] std::span<std::byte> memory() const { return view_.bytes(); }
    void unmap_all() const { ::madvise(view_.data(), view_.size(), MADV_DONTNEED); }

private:
    void serve(const std::stop_token& stop) {
        Userfault::Batch batch;
        Poller poller = must(Poller::create());
        must(poller.add(faults_.fd(), EPOLLIN, 0));
        std::array<epoll_event, 1> ready;
        Spin spin;
        while (!stop.stop_requested()) {
            const std::size_t taken = must(faults_.take(batch));
            const auto now = Clock::now();
            for (const std::uintptr_t address : std::span{batch}.first(taken)) {
                const std::uintptr_t start = address & ~(kPageSize - 1);
                const auto offset = start - reinterpret_cast<std::uintptr_t>(view_.data());
                must(faults_.map(view_.bytes().subspan(offset, kPageSize)));
            }
            if (taken > 0) {
                spin.worked(now);
            } else if (spin.goes_on(now)) {
                __builtin_ia32_pause();
            } else {
                must(poller.wait(ready, 50));
                spin.woke(now, Clock::now());
            }
        }
    }
    UniqueFd ram_;
    Mapping view_;
    Mapping frames_;
    Userfault faults_;
    std::jthread reader_;
};

/// Median time of single touches, in microseconds. Pages far apart, so that nothing is opened ahead.
std::vector<double> touch_times(std::span<std::byte> memory, Visits visits) {
    std::vector<double> times;
    for (const std::uint32_t page : visits) {
        const auto began = Clock::now();
        g_sink = g_sink + std::to_integer<std::uint64_t>(
                              *static_cast<volatile std::byte*>(memory.data() + page * kPageSize));
        times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - began).count());
    }
    return times;
}

double bare_fault_us(std::uint32_t pages = 4096) {
    const BareFaults bare{pages};
    auto order = visits_of(Pattern::Random, pages, pages / 2, 3);
    bare.unmap_all();
    std::ranges::sort(order);
    order.erase(std::unique(order.begin(), order.end()), order.end());
    std::ranges::shuffle(order, std::mt19937{4});
    return median(touch_times(bare.memory(), order));
}

void inside() {
    constexpr std::uint32_t kPages = 16'384;  // 64 MiB
    const int turns = g_quick ? 12 : 40;
    for (const Pattern pattern : {Pattern::Sequential, Pattern::Random}) {
        const Plain plain{kPages};
        const Sealed sealed{kPages, kPages, {.seal_after = std::chrono::seconds{30}}};
        const auto order = visits_of(pattern, kPages, 2'000'000);
        std::vector<double> plain_times;
        std::vector<double> sealed_times;
        time_visits(plain.memory.bytes(), order);
        for (int turn = 0; turn < turns; ++turn) {  // long enough for several rounds of ageing
            plain_times.push_back(time_visits(plain.memory.bytes(), order));
            sealed_times.push_back(time_visits(sealed.memory(), order));
        }
        // Sums, not medians: ageing must be paid for.
        const double none = std::accumulate(plain_times.begin(), plain_times.end(), 0.0);
        const double software = std::accumulate(sealed_times.begin(), sealed_times.end(), 0.0);
        say("inside." + std::string{pattern_name(pattern)} + ".ratio", software / none, "of none");
        say("inside." + std::string{pattern_name(pattern)} + ".ratio_median",
            median(sealed_times) / median(plain_times), "of none");
        say("inside." + std::string{pattern_name(pattern)} + ".grace_faults",
            static_cast<double>(sealed.pager->statistics().faults_grace), "in all");
    }
}

void faults_of(Suite suite, unsigned guest, unsigned readers, const std::string& name) {
    constexpr std::uint32_t kPages = 8192;
    std::vector<double> bare_times;
    std::vector<double> sealed_times;
    const Processors processors{readers};
    const BareFaults bare{kPages};
    const Sealed sealed{kPages, kPages, {.seal_after = std::chrono::milliseconds{0}, .suite = suite}};
    Processors::move_to(guest);
    for (unsigned turn = 0; turn < (g_quick ? 4U : 10U); ++turn) {
        auto order = visits_of(Pattern::Random, kPages, 400, turn);
        std::ranges::sort(order);
        order.erase(std::unique(order.begin(), order.end()), order.end());
        std::ranges::shuffle(order, std::mt19937{turn});
        bare.unmap_all();
        must(sealed.pager->seal_all());
        for (const double time : touch_times(bare.memory(), order)) bare_times.push_back(time);
        for (const double time : touch_times(sealed.memory(), order)) sealed_times.push_back(time);
    }
    say(name + ".bare", median(bare_times), "us");
    say(name + ".sealed", median(sealed_times), "us");
    say(name + ".ratio", median(sealed_times) / median(bare_times), "of bare");
}

void fault() {
    for (const Suite suite : {Suite::Aegis256x2, Suite::Aes256Gcm}) {
        const std::string name = "fault." + std::string{memcrypt::suite_name(suite)};
        faults_of(suite, 0, 0, name);
        if (std::thread::hardware_concurrency() > 1) faults_of(suite, 0, 1, name + ".two_processors");
    }
}

/// The parts of a scan, each alone, microseconds a page.
struct Parts {
    double open = 0;
    double seal = 0;
    double map = 0;
    double unmap = 0;
    double touch = 0;  ///< reading a page that was just mapped: the memory and the processor's page tables
    [[nodiscard]] double sum() const { return open + seal + map + unmap; }
};

Parts parts(Suite suite) {
    constexpr std::uint32_t kPages = 16'384;
    Parts parts;
    const auto key = must(memcrypt::SecretKey::random());
    auto cipher = must(memcrypt::make_page_cipher(suite, key, {}));
    std::vector<memcrypt::Tag> tags(kPages);
    Mapping memory = must(Mapping::anonymous(kPages * kPageSize));
    std::memset(memory.data(), 7, memory.size());
    const auto page_at = [&](std::uint32_t page) {
        return memcrypt::PageBytes{memory.data() + page * kPageSize, kPageSize};
    };
    parts.seal = seconds_of([&] {
        for (std::uint32_t page = 0; page < kPages; ++page)
            cipher->seal({0, page, 1}, page_at(page), tags[page]);
    });
    std::array<std::byte, kPageSize> plain;
    parts.open = seconds_of([&] {
        for (std::uint32_t page = 0; page < kPages; ++page) {
            if (!cipher->open({0, page, 1}, page_at(page), plain, tags[page])) std::abort();
            std::ranges::copy(plain, page_at(page).begin());
        }
    });
    const UniqueFd ram = must(sealed_memfd("parts", kPages * kPageSize));
    const Views views = must(Views::create(ram, kPages * kPageSize, device(), {}, 1));
    must(views.populate(0, kPages));
    constexpr std::uint32_t kBatch = 64;
    parts.map = seconds_of([&] {
        for (std::uint32_t page = 0; page < kPages; page += kBatch) must(views.map(page, kBatch));
    });
    const auto order = visits_of(Pattern::Sequential, kPages, kPages);
    parts.touch = time_visits(views.guest(), order);
    parts.unmap = seconds_of([&] {
        std::array<std::uint32_t, kBatch> batch;
        for (std::uint32_t page = 0; page < kPages; page += kBatch) {
            std::iota(batch.begin(), batch.end(), page);
            must(views.unmap(batch));
        }
    });
    for (double* const part : {&parts.open, &parts.seal, &parts.map, &parts.unmap, &parts.touch})
        *part *= 1e6 / kPages;
    return parts;
}

void scan() {
    const Processors one{0};
    constexpr std::uint32_t kPages = 40'960;  // ten windows of 16 MiB
    for (const Suite suite : {Suite::Aegis256x2, Suite::Aes256Gcm}) {
        const Sealed sealed{
            kPages, kPages / 10, {.seal_after = std::chrono::milliseconds{0}, .suite = suite}};
        const auto order = visits_of(Pattern::Sequential, kPages, kPages);
        std::vector<double> times;
        time_visits(sealed.memory(), order);
        const Statistics before = sealed.pager->statistics();
        for (int turn = 0; turn < (g_quick ? 3 : 7); ++turn)
            times.push_back(time_visits(sealed.memory(), order));
        const Statistics after = sealed.pager->statistics();
        const auto visits = static_cast<double>(times.size() * kPages);
        auto single = visits_of(Pattern::Random, kPages, 4000, 9);
        const double alone = time_visits(sealed.memory(), single) * 1e6 / static_cast<double>(single.size());
        const double ours = median(times) * 1e6 / kPages;
        const Parts limit = parts(suite);
        const std::string name = "scan." + std::string{memcrypt::suite_name(suite)};
        say(name + ".page", ours, "us");
        say(name + ".open", limit.open, "us");
        say(name + ".seal", limit.seal, "us");
        say(name + ".map", limit.map, "us");
        say(name + ".unmap", limit.unmap, "us");
        say(name + ".touch", limit.touch, "us, the guest's own first read of a mapped page");
        say(name + ".of_limit", limit.sum() / ours, "of the speed of its parts");
        say(name + ".of_limit_with_touch", (limit.sum() + limit.touch) / ours,
            "of its parts and the guest's touch");
        say(name + ".faults", static_cast<double>(after.faults_sealed - before.faults_sealed) / visits * 1000,
            "of a thousand pages, sealed");
        say(name + ".grace", static_cast<double>(after.faults_grace - before.faults_grace) / visits * 1000,
            "in grace");
        say(name + ".raced", static_cast<double>(after.faults_raced - before.faults_raced) / visits * 1000,
            "raced");
        say(name + ".single", alone, "us by single faults");
        say(name + ".times_single", alone / ours, "times as fast");
    }
}

/// What the kernel takes to unmap a page, of 64 at a time that lie apart: a miss needs room, and room is made
/// so.
double scattered_unmap_us() {
    constexpr std::uint32_t kPages = 16'384;
    constexpr std::size_t kBatch = 64;
    const UniqueFd ram = must(sealed_memfd("scattered", kPages * kPageSize));
    const Views views =
        must(Views::create(ram, kPages * kPageSize, device(),
                           UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U))}, 1));
    must(views.populate(0, kPages));
    must(views.map(0, kPages));
    std::vector<std::uint32_t> order(kPages);
    std::iota(order.begin(), order.end(), 0U);
    g_sink = g_sink + visit_all(views.guest(), order);
    std::ranges::shuffle(order, std::mt19937{5});
    for (std::size_t i = 0; i < kPages; i += kBatch) std::ranges::sort(std::span{order}.subspan(i, kBatch));
    return seconds_of([&] {
               for (std::size_t i = 0; i < kPages; i += kBatch)
                   must(views.unmap(std::span{order}.subspan(i, kBatch)));
           }) *
           1e6 / kPages;
}

void zipf() {
    const Processors one{0};
    constexpr std::uint32_t kPages = 16'384;
    constexpr std::uint32_t kWindow = kPages / 4;
    const std::size_t kVisits = g_quick ? 150'000 : 400'000;
    const auto order = visits_of(Pattern::Zipf, kPages, 2 * kVisits);
    const Visits measured = Visits{order}.subspan(kVisits);
    const Plain plain{kPages};
    const Sealed sealed{kPages, kWindow};
    time_visits(sealed.memory(), Visits{order}.first(kVisits));  // warm-up
    const double none = time_visits(plain.memory.bytes(), measured);
    const Statistics before = sealed.pager->statistics();
    const double software = time_visits(sealed.memory(), measured);
    const Statistics after = sealed.pager->statistics();
    const double bare = bare_fault_us() / 1e6;
    const auto misses = static_cast<double>(after.faults_sealed - before.faults_sealed);
    const auto ratio = [&](double count) { return count / static_cast<double>(kVisits); };
    say("zipf.miss_ratio", ratio(misses), "");
    say("zipf.opened", ratio(static_cast<double>(after.opened - before.opened)), "pages a visit");
    say("zipf.grace_ratio", ratio(static_cast<double>(after.faults_grace - before.faults_grace)), "");
    const auto simulated = [&](auto policy) {
        return ratio(static_cast<double>(policy(order, kVisits, kPages, kWindow)));
    };
    say("zipf.fifo", simulated(fifo_misses), "");
    say("zipf.clock", simulated(clock_misses), "");
    say("zipf.static", simulated(static_misses), "");
    say("zipf.belady", simulated(belady_misses), "");
    say("zipf.none", none * 1e6 / static_cast<double>(kVisits), "us a visit");
    say("zipf.software", software * 1e6 / static_cast<double>(kVisits), "us a visit");
    say("zipf.bare_fault", bare * 1e6, "us");
    const double unmap = scattered_unmap_us() / 1e6;
    say("zipf.scattered_unmap", unmap * 1e6, "us a page");
    say("zipf.ratio", software / (none + misses * bare), "of none + misses x bare fault");
    say("zipf.ratio_with_unmap", software / (none + misses * (bare + unmap)),
        "of none + misses x (bare fault + scattered unmap)");
}

double pause_us(std::uint32_t pages, Suite suite) {
    const Sealed sealed{pages, pages, {.seal_after = std::chrono::milliseconds{0}, .suite = suite}};
    return seconds_of([&] { must(sealed.pager->seal_all()); }) * 1e6 / pages;
}

/// Of as many pages that were touched, all at once.
double whole_unmap_us(std::uint32_t pages) {
    const UniqueFd ram = must(sealed_memfd("touched", pages * kPageSize));
    const Views views = must(Views::create(ram, pages * kPageSize, device(), {}, 1));
    must(views.populate(0, pages));
    must(views.map(0, pages));
    g_sink = g_sink + visit_all(views.guest(), visits_of(Pattern::Sequential, pages, pages));
    return seconds_of([&] { must(views.unmap_all()); }) * 1e6 / pages;
}

void seal() {
    constexpr std::uint32_t kPages = 65'536;  // 256 MiB
    const int kTurns = g_quick ? 3 : 9;
    for (const Suite suite : {Suite::Aegis256x2, Suite::Aes256Gcm}) {
        std::vector<double> pauses, ciphers, unmaps;
        for (int turn = 0; turn < kTurns; ++turn) {
            pauses.push_back(pause_us(kPages, suite));
            ciphers.push_back(parts(suite).seal);
            unmaps.push_back(whole_unmap_us(kPages));
        }
        const double pause = median(pauses), cipher = median(ciphers), unmap = median(unmaps);
        const std::string name = "seal." + std::string{memcrypt::suite_name(suite)};
        say(name + ".page", pause, "us");
        say(name + ".cipher", cipher, "us");
        say(name + ".unmap", unmap, "us");
        say(name + ".of_cipher", cipher / pause, "of the cipher's rate on one thread");
        say(name + ".of_cipher_and_unmap", (cipher + unmap) / pause, "of cipher and unmapping");
    }
}

void curve() {
    const Processors one{0};
    constexpr std::uint32_t kPages = 16'384;
    const std::vector<std::uint32_t> points{5, 10, 15, 20, 25, 35, 50, 65, 80, 100};
    const std::vector<std::uint32_t> quick_points{5, 25, 50, 80, 100};
    for (const Pattern pattern : kPatterns) {
        const auto order = visits_of(pattern, kPages,
                                     (pattern == Pattern::Random ? 60'000U : 120'000U) / (g_quick ? 3U : 1U));
        const Plain plain{kPages};
        for (const std::uint32_t percent : g_quick ? quick_points : points) {
            const Sealed sealed{kPages, kPages * percent / 100};
            time_visits(sealed.memory(), order);
            const double none = time_visits(plain.memory.bytes(), order);
            const double software = time_visits(sealed.memory(), order);
            say("curve." + std::string{pattern_name(pattern)} + "." + std::to_string(percent),
                software / none, "of none");
        }
    }
}

struct Part {
    std::string_view name;
    void (*run)();
};
constexpr Part kParts[] = {{"inside", inside}, {"fault", fault}, {"scan", scan},
                           {"zipf", zipf},     {"seal", seal},   {"curve", curve}};

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
    using namespace holdfast::bench;
    g_quick = argc > 1 && std::string_view{argv[1]} == "--quick";
    const int first = g_quick ? 2 : 1;
    const std::span chosen{argv + first, static_cast<std::size_t>(argc - first)};
    for (const std::string_view word : chosen) {
        if (std::ranges::find(kParts, word, &Part::name) == std::end(kParts)) {
            std::fprintf(stderr, "usage: bench-memory [--quick] [inside|fault|scan|zipf|seal|curve]...\n");
            return 2;
        }
    }
    for (const Part& part : kParts) {
        if (chosen.empty() || std::ranges::find(chosen, part.name) != chosen.end()) part.run();
    }
    return 0;
}
