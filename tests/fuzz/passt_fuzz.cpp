// SPDX-License-Identifier: Apache-2.0
// The decoder of passt's stream, cut at arbitrary places, against a reader of the whole stream.
#include <algorithm>
#include <vector>

#include "tests/fuzz/input.hpp"
#include "vmm/io/passt.hpp"

namespace {

using namespace holdfast;
using Frames = std::vector<std::vector<std::byte>>;

/// The frames of a whole stream, up to where it ends or stops making sense.
Frames read_whole(std::span<const std::byte> stream) {
    Frames frames;
    io::FrameLength length;
    while (stream.size() >= sizeof length) {
        std::memcpy(&length, stream.data(), sizeof length);
        stream = stream.subspan(sizeof length);
        if (length.get() < io::kMinFrame || length.get() > io::kMaxFrame || length.get() > stream.size())
            break;
        const auto frame = stream.first(length.get());
        frames.emplace_back(frame.begin(), frame.end());
        stream = stream.subspan(length.get());
    }
    return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    const std::size_t piece = input.take<std::uint16_t>() + std::size_t{1};
    // Frames that a fuzzer reaches: lengths and contents are its, or repeated to real sizes.
    std::vector<std::byte> stream;
    const std::size_t repeat = input.take<std::uint8_t>() % 64 + std::size_t{1};
    const auto pattern = input.take_bytes(size);
    for (std::size_t i = 0; i < repeat; ++i) stream.insert(stream.end(), pattern.begin(), pattern.end());

    io::FrameDecoder decoder;
    Frames frames;
    std::span<const std::byte> rest{stream};
    for (;;) {
        const auto frame = decoder.next();
        if (!frame) break;
        if (*frame) {
            frames.emplace_back((*frame)->begin(), (*frame)->end());
            continue;
        }
        if (rest.empty()) break;
        const auto room = decoder.room();
        check(!room.empty(), "no room and no frame");
        const std::size_t part = std::min({piece, rest.size(), room.size()});
        std::memcpy(room.data(), rest.data(), part);
        decoder.filled(part);
        rest = rest.subspan(part);
    }
    check(frames == read_whole(stream), "frames depend on where the stream was cut");
    return 0;
}
