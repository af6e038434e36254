// SPDX-License-Identifier: Apache-2.0
// map + unmap through a domain, and the two VFIO requests alone. Question: does our stack keep 0.9 of the
// rate? Turn about, in one process, on a device of the (emulated) host:
//   tools/host run --device edu -- sh -c 'echo vfio-pci >/sys/bus/pci/devices/0000:01:00.0/driver_override;
//     echo 0000:01:00.0 >/sys/bus/pci/drivers_probe; HF_DEVICE=0000:01:00.0 build/bench/bench-iommu-host'
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "iommu/domain.hpp"
#include "sys/mapping.hpp"
#include "tests/iommu/opened.hpp"

namespace holdfast::iommu {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Iova kStart{0x40000000};

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

template <typename Once>
double microseconds_each(unsigned times, Once once) {
    const auto start = Clock::now();
    for (unsigned i = 0; i < times; ++i) once();
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count() / times;
}

void compare(const char* name, std::uint64_t size, unsigned times, unsigned rounds, Domain& domain,
             Space& raw, std::span<std::byte> host) {
    const IovaRange range{kStart, Iova{kStart.value() + size - 1}};
    const auto ours = [&] {
        check(domain.map({.start = kStart, .size = size, .target = GuestAddr{0}, .access = Access::ReadWrite})
                  .has_value(),
              "map");
        check(domain.unmap(range) == 1, "unmap");
    };
    const auto theirs = [&] {
        check(raw.map(kStart, host.first(size), Access::ReadWrite).has_value(), "raw map");
        check(raw.unmap(range).has_value(), "raw unmap");
    };
    std::vector<double> with;
    std::vector<double> without;
    std::vector<double> ratios;
    for (unsigned round = 0; round < rounds; ++round) {
        with.push_back(microseconds_each(times, ours));
        without.push_back(microseconds_each(times, theirs));
        ratios.push_back(without.back() / with.back());
    }
    std::printf(
        "dma.%s.domain %.1f us\ndma.%s.raw %.1f us\ndma.%s.rate %.3f of VFIO's, median of %u; %.3f to %.3f\n",
        name, median(with), name, median(without), name, median(ratios), rounds, std::ranges::min(ratios),
        std::ranges::max(ratios));
}

int run() {
    const std::string address = device_address();
    if (address.empty()) {
        std::puts("skip: no HF_DEVICE");
        return 77;
    }
    const auto files = open_device(address);
    const auto space = std::move(*host::Type1Space::create(std::move(*files.container.duplicate())));
    const auto memory = std::move(*holdfast::Mapping::huge(1ULL << 30));
    for (std::size_t at = 0; at < memory.size(); at += kPageSize) memory.bytes()[at] = std::byte{1};
    PlainPages pages{memory.bytes()};
    Domain domain{{.max_bytes = 2ULL << 30}, pages};
    check(domain.attach(*space).has_value(), "attach");
    compare("4K", 4096, 200, 21, domain, *space, memory.bytes());
    compare("2M", 2 << 20, 50, 21, domain, *space, memory.bytes());
    compare("1G", 1ULL << 30, 1, 7, domain, *space, memory.bytes());
    return 0;
}

}  // namespace
}  // namespace holdfast::iommu

int main() { return holdfast::iommu::run(); }
