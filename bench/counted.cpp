// SPDX-License-Identifier: Apache-2.0
// What is done often, so many times over, without a clock: bench/instructions counts it under callgrind, once
// and twice as long, so that preparations cancel out. Each workload checks its own result. (The pager's is
// not among them: valgrind 3.19 does not know mlock2.)
//
//   bench-counted --list | NAME TIMES
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "attest/evidence/cbor.hpp"
#include "iommu/interval_map.hpp"
#include "memcrypt/guest_memory.hpp"
#include "memcrypt/launch_digest.hpp"
#include "vmm/virtio/queue.hpp"
#include "vmm/virtio/spec.hpp"

namespace holdfast {
namespace {

void require(bool is_right, const char* what) {
    if (is_right) return;
    std::fprintf(stderr, "bench-counted: wrong result: %s\n", what);
    std::exit(1);
}

/// The same numbers each time, on each machine.
class Numbers {
public:
    std::uint64_t below(std::uint64_t limit) {
        state_ = state_ * 6364136223846793005 + 1442695040888963407;
        return (state_ >> 33) % limit;
    }

private:
    std::uint64_t state_ = 1;
};

constexpr std::uint64_t kMappings = 50'000;
iommu::Iova start_of(std::uint64_t index) { return iommu::Iova{index << 13}; }
iommu::Mapping mapping(std::uint64_t index) {
    return {.start = start_of(index), .size = 4096, .target = GuestAddr{index << 12}};
}
void fill(iommu::IntervalMap& map) {
    for (std::uint64_t i = 0; i < kMappings; ++i) map.insert(mapping(i * 7919 % kMappings));
}

void find_mappings(std::uint64_t times) {
    iommu::IntervalMap map;
    fill(map);
    Numbers numbers;
    while (times-- > 0) {
        const std::uint64_t index = numbers.below(kMappings);
        const auto found = map.find(start_of(index));
        require(found && found->target == GuestAddr{index << 12}, "another mapping was found");
    }
}

void change_mappings(std::uint64_t times) {
    iommu::IntervalMap map;
    fill(map);
    Numbers numbers;
    while (times-- > 0) {
        const std::uint64_t index = numbers.below(kMappings);
        require(map.erase(start_of(index)), "a mapping was missing");
        map.insert(mapping(index));
    }
    require(map.size() == kMappings, "mappings were lost");
}

/// Requests of a block device's shape: header, data, status.
void take_chains(std::uint64_t times) {
    using virtio::spec::Desc;
    constexpr std::uint16_t kSize = 256;
    const std::array ranges{memcrypt::GuestMemory::Range{GuestAddr{0}, 1 << 20}};
    const auto memory = memcrypt::GuestMemory::create_plain(ranges).value();
    const virtio::QueueLayout layout{.size = kSize,
                                     .descriptors = GuestAddr{0x10000},
                                     .available = GuestAddr{0x20000},
                                     .used = GuestAddr{0x30000}};
    auto queue = virtio::Queue::create(memory, layout).value();
    const auto describe = [&](std::uint16_t index, std::uint32_t bytes, std::uint16_t flags) {
        Desc desc{};
        desc.addr = 0x40000 + index * 0x1000ULL;
        desc.len = bytes;
        desc.flags = flags;
        desc.next = static_cast<std::uint16_t>(index + 1);
        memory.write_value(GuestAddr{0x10000 + index * sizeof(Desc)}, desc).value();
    };
    describe(0, 16, virtio::spec::DESC_F_NEXT);
    describe(1, 4096, virtio::spec::DESC_F_NEXT | virtio::spec::DESC_F_WRITE);
    describe(2, 1, virtio::spec::DESC_F_WRITE);
    virtio::Chain chain;
    for (std::uint64_t i = 0; i < times; ++i) {
        // Every entry of the ring names descriptor 0: it is zeroes.
        memory.write_value(GuestAddr{0x20002}, static_cast<std::uint16_t>(i + 1)).value();
        require(queue.pop(chain).value() && chain.readable_bytes() == 16 && chain.writable_bytes() == 4097,
                "the chain is another");
        queue.push(chain.head(), 4097);
        static_cast<void>(queue.publish());
    }
    require(memory.read_value<std::uint16_t>(GuestAddr{0x30002}).value() == static_cast<std::uint16_t>(times),
            "chains were lost");
}

void measure_pages(std::uint64_t times) {
    memcrypt::LaunchDigest digest;
    std::array<std::byte, kPageSize> page{};
    for (std::uint64_t i = 0; i < times; ++i) {
        page[0] = static_cast<std::byte>(i);
        digest.add(memcrypt::PageType::Normal, GuestAddr{i * kPageSize}, page);
    }
    require(digest.value() != Digest384{}, "nothing was measured");
}

void read_evidence(std::uint64_t times) {
    attest::cbor::Writer writer;
    writer.put_map(24);
    for (std::uint64_t i = 0; i < 24; ++i) {
        writer.put(i);
        writer.put(std::as_bytes(std::span{"thirty-two bytes, like a digest."}));
    }
    const auto bytes = writer.take();
    while (times-- > 0) {
        attest::cbor::Reader reader{bytes};
        attest::cbor::Keys keys;
        std::size_t pairs = reader.get_map().value();
        for (; pairs > 0; --pairs) {
            static_cast<void>(keys.next_number(reader).value());
            require(reader.get_bytes().value().size() == 33, "a digest is of another size");
        }
        require(reader.expect_end().has_value(), "something is left");
    }
}

struct Workload {
    std::string_view name;
    void (*run)(std::uint64_t times);
};
constexpr std::array kWorkloads{
    Workload{"iommu.find", find_mappings},      Workload{"iommu.change", change_mappings},
    Workload{"virtio.chain", take_chains},      Workload{"memcrypt.launch-page", measure_pages},
    Workload{"attest.cbor-map", read_evidence},
};

int run(std::span<const char* const> arguments) {
    if (arguments.size() == 2 && std::string_view{arguments[1]} == "--list") {
        for (const Workload& each : kWorkloads) std::puts(each.name.data());
        return 0;
    }
    if (arguments.size() == 3) {
        const std::string_view times = arguments[2];
        std::uint64_t count = 0;
        const auto read = std::from_chars(times.data(), times.data() + times.size(), count);
        for (const Workload& each : kWorkloads) {
            if (each.name != arguments[1] || read.ec != std::errc{}) continue;
            each.run(count);
            return 0;
        }
    }
    std::fputs("usage: bench-counted --list | NAME TIMES\n", stderr);
    return 2;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::run({argv, static_cast<std::size_t>(argc)}); }
