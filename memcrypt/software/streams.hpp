// SPDX-License-Identifier: Apache-2.0
// Sees in the sequence of faults which pages come next. A stream is a run of faults at one distance (its
// stride); each time it comes true, more pages are opened ahead of it, and a stream that stops costs nothing
// more: what it opened in vain leaves through the window's probation queue.
#pragma once

#include <array>
#include <cstdint>

namespace holdfast::memcrypt::software {

/// Not thread-safe.
class Streams {
public:
    struct Advice {
        std::int32_t stride = 1;
        std::uint32_t count = 0;   ///< pages to open beyond the one that faulted
        std::uint32_t proved = 0;  ///< pages opened ahead earlier that the guest has passed by now
    };
    /// `most`: how many pages a stream may be ahead.
    explicit Streams(std::uint32_t most) noexcept : most_{most} {}
    /// A sealed page was touched.
    Advice on_fault(std::uint32_t page) noexcept;
    /// How far the advice of the last on_fault() was followed: there may have been no room, or no pages.
    void followed(std::uint32_t count) noexcept;
    /// How many pages right below and above the one that faulted last are open, whoever opened them. The
    /// guest passes over them without a fault, and the first closed one behind them goes on with the run.
    void open_beside(std::uint32_t below, std::uint32_t above) noexcept;

private:
    static constexpr std::int32_t kMostStride = 16;
    struct Stream {
        std::uint32_t last = 0;  ///< the page that faulted last
        std::int32_t stride = 0;
        std::uint32_t ahead = 0;  ///< pages opened beyond it
        std::uint32_t below = 0;  ///< pages beside it that others have opened
        std::uint32_t above = 0;
        std::uint64_t used = 0;  ///< when; 0: free
    };
    static std::int32_t stride_to(const Stream& stream, std::int64_t distance) noexcept;
    Advice go_on(Stream& stream, std::uint32_t page, std::int64_t steps) noexcept;

    std::uint32_t most_;
    std::uint64_t clock_ = 0;
    std::array<Stream, 16> streams_{};
    Stream* latest_ = nullptr;  ///< of the last fault: what followed() and open_beside() are about
};

}  // namespace holdfast::memcrypt::software
