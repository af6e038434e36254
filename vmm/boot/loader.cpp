// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/loader.hpp"

#include <algorithm>
#include <array>
#include <thread>

#include "sys/thread.hpp"

namespace holdfast::boot {
namespace {

// The chain is sequential, but nearly all of its time goes into the pages' contents. What one thread hashes
// in a millisecond is not worth another.
constexpr std::size_t kThreads = 4;
constexpr std::size_t kSmallShare = 128;

Result<void> hash_share(const memcrypt::GuestMemory& memory, std::span<const std::uint64_t> numbers,
                        std::span<Digest384> out) {
    std::array<std::byte, kPageSize> page;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        HF_TRY(memory.read(GuestAddr{numbers[i] * kPageSize}, page));
        out[i] = sha384(page);
    }
    return {};
}

Result<void> hash_pages(const memcrypt::GuestMemory& memory, std::span<const std::uint64_t> numbers,
                        std::span<Digest384> out) {
    const std::size_t share = std::max(kSmallShare, numbers.size() / kThreads + 1);
    std::array<Result<void>, kThreads> results;
    {
        std::vector<std::jthread> others;
        for (std::size_t i = 1; i * share < numbers.size(); ++i) {
            const std::size_t size = std::min(share, numbers.size() - i * share);
            others.push_back(named_thread(
                "measure", [&memory, &result = results[i], theirs = numbers.subspan(i * share, size),
                            to = out.subspan(i * share, size)] { result = hash_share(memory, theirs, to); }));
        }
        const std::size_t ours = std::min(share, numbers.size());
        results[0] = hash_share(memory, numbers.first(ours), out);
    }
    for (Result<void>& result : results) HF_TRY(std::move(result));
    return {};
}

}  // namespace

Result<void> Loader::write(GuestAddr to, std::span<const std::byte> in) {
    HF_TRY(memory_.write(to, in));
    note(to, in.size());
    return {};
}

Result<void> Loader::load(GuestAddr to, const UniqueFd& file, std::uint64_t offset, std::uint64_t size) {
    HF_TRY(memory_.load(to, file, offset, size));
    note(to, size);
    return {};
}

// The range was loaded, so it lies in RAM and its end does not wrap.
void Loader::note(GuestAddr to, std::uint64_t size) {
    if (size == 0) return;
    const std::uint64_t end = (to.value() + size + kPageSize - 1) / kPageSize;
    loaded_.push_back({.first = to.value() / kPageSize, .end = end});
}

std::vector<std::uint64_t> Loader::pages() const {
    std::vector<Pages> sorted = loaded_;
    std::ranges::sort(sorted, {}, &Pages::first);
    std::vector<std::uint64_t> numbers;
    std::uint64_t next = 0;  // no page below it is missing
    for (const Pages& pages : sorted) {
        for (next = std::max(next, pages.first); next < pages.end; ++next) numbers.push_back(next);
    }
    return numbers;
}

Result<void> Loader::measure(memcrypt::LaunchDigest& digest) const {
    const std::vector<std::uint64_t> numbers = pages();
    std::vector<Digest384> contents(numbers.size());
    HF_TRY(hash_pages(memory_, numbers, contents));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        digest.add_hashed(memcrypt::PageType::Normal, GuestAddr{numbers[i] * kPageSize}, contents[i]);
    }
    return {};
}

}  // namespace holdfast::boot
