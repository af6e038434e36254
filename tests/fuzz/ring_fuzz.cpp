// SPDX-License-Identifier: Apache-2.0
// The shared ring, with a third party who writes anything anywhere into it: neither side may crash,
// hang, leave the arena, or believe a completion that was not asked for.
#include <vector>

#include "sys/fd.hpp"
#include "tests/fuzz/input.hpp"
#include "vmm/io/client.hpp"
#include "vmm/io/request_ring.hpp"
#include "vmm/io/ring.hpp"

namespace {

using namespace holdfast;

template <typename T>
T must(Result<T> result) {
    check(result.has_value(), "fuzz target cannot start");
    return std::move(*result);
}

template <typename Entry>
void scribble(io::shared::Ring<Entry>& ring, fuzz::Input& input) {
    switch (input.take<std::uint8_t>() % 4) {
        case 0: ring.tail.store(input.take<std::uint32_t>()); break;
        case 1: ring.head.store(input.take<std::uint32_t>()); break;
        case 2: ring.sleeping.store(input.take<std::uint32_t>()); break;
        default: {
            auto& words = ring.entries[input.take<std::uint16_t>() % io::kRingEntries];
            for (auto& word : words) word.store(input.take<std::uint64_t>());
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const UniqueFd memory = must(sealed_memfd("fuzz-ring", io::kSharedBytes));
    static const io::SharedMemory raw = must(io::SharedMemory::map(memory));
    std::memset(static_cast<void*>(&raw.rings()), 0, sizeof raw.rings());
    const auto client = must(io::Client::create(memory, must(EventFd::create()), must(EventFd::create())));
    auto server = must(io::RequestRing::create(memory, must(EventFd::create()), must(EventFd::create())));

    fuzz::Input input{data, size};
    std::vector<io::Job> jobs;
    for (int step = 0; step < 2000 && !input.empty(); ++step) {
        switch (input.take<std::uint8_t>() % 8) {
            case 0: scribble(raw.rings().requests, input); break;
            case 1: scribble(raw.rings().completions, input); break;
            case 2: {
                io::Request request{.op = static_cast<io::Op>(input.take<std::uint8_t>() % 7 + 1),
                                    .length = input.take<std::uint32_t>() % std::uint32_t{io::kSlotSize + 1}};
                if (auto slot = client->take_slot()) request.slot = std::move(*slot);
                request.cookie = request.length;
                if (client->submit(request)) client->flush();
                break;
            }
            case 3: {
                auto completion = client->next_completion();
                if (!completion) return 0;  // the VM ends
                if (!*completion) break;
                check((*completion)->length <= (*completion)->cookie, "longer than was asked for");
                static_cast<void>((*completion)->slot.bytes((*completion)->length));
                break;
            }
            case 4: {
                const auto job = server.take();
                if (!job) return 0;  // the I/O process ends
                if (!*job) break;
                for (std::byte& byte : (*job)->bytes.first(std::min<std::size_t>((*job)->bytes.size(), 8))) {
                    byte = std::byte{1};
                }
                if (!(*job)->bytes.empty()) (*job)->bytes.back() = std::byte{1};
                jobs.push_back(**job);
                break;
            }
            case 5:
                if (jobs.empty()) break;
                server.complete(jobs.back(), static_cast<io::Status>(input.take<std::uint8_t>() % 6),
                                input.take<std::uint32_t>());
                jobs.pop_back();
                server.publish();
                break;
            case 6: static_cast<void>(server.arm()); break;
            default: static_cast<void>(client->arm()); break;
        }
    }
    return 0;
}
