// SPDX-License-Identifier: Apache-2.0
#include "sys/log.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstring>
#include <span>

#include <unistd.h>

#include "sys/rate.hpp"
#include "sys/thread.hpp"

namespace holdfast::log {

/// Fills a fixed buffer; what does not fit is cut, the newline always fits.
class LineBuilder {
public:
    void text(std::string_view part) noexcept {
        const std::size_t room = kRoom - size_;
        const std::size_t taken = std::min(room, part.size());
        std::memcpy(buffer_.data() + size_, part.data(), taken);
        size_ += taken;
    }
    void escaped(std::string_view part) noexcept {
        for (const char c : part.substr(0, kMaxText)) {
            if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
                text({&c, 1});
            } else {
                constexpr std::string_view digits = "0123456789abcdef";
                const auto value = static_cast<unsigned char>(c);
                const std::array<char, 4> code{'\\', 'x', digits[value >> 4], digits[value & 15]};
                text({code.data(), code.size()});
            }
        }
    }
    template <typename T>
    void number(T value, int base = 10) noexcept {
        std::array<char, 24> digits{};
        const auto end = std::to_chars(digits.begin(), digits.end(), value, base);
        text({digits.data(), static_cast<std::size_t>(end.ptr - digits.data())});
    }
    void field(const Field& field) noexcept {
        text(" ");
        text(field.key_);
        text("=");
        switch (field.kind_) {
            case Field::Kind::Signed: number(static_cast<std::int64_t>(field.number_)); break;
            case Field::Kind::Unsigned: number(field.number_); break;
            case Field::Kind::Hex:
                text("0x");
                number(field.number_, 16);
                break;
            case Field::Kind::Text:
                text("\"");
                escaped(field.text_);
                text("\"");
                break;
        }
    }
    void finish() noexcept {
        buffer_[size_] = '\n';
        // One write a line, so that lines of several processes in one file do not mix.
        [[maybe_unused]] const ssize_t put = ::write(STDERR_FILENO, buffer_.data(), size_ + 1);
    }

private:
    static constexpr std::size_t kRoom = 1023;
    static constexpr std::size_t kMaxText = 256;
    std::array<char, kRoom + 1> buffer_;
    std::size_t size_ = 0;
};

namespace {

struct Sink {
    std::array<char, 32> program{};
    std::atomic<Level> most{Level::Info};
    Mutex lock;
    TokenBucket warnings HF_GUARDED_BY(lock){10, 20, TokenBucket::Clock::now()};
    std::uint64_t dropped HF_GUARDED_BY(lock) = 0;
};

Sink& sink() noexcept {
    static Sink instance;
    return instance;
}

std::string_view level_name(Level level) noexcept {
    switch (level) {
        case Level::Error: return "error";
        case Level::Warn: return "warn";
        case Level::Info: return "info";
        case Level::Debug: return "debug";
    }
    return "";
}

void line(Level level, std::string_view event, const Error* error, Fields fields) noexcept {
    if (level > sink().most.load(std::memory_order_relaxed)) return;  // SAFETY: a lone flag
    LineBuilder builder;
    builder.text(sink().program.data());
    builder.text(": ");
    builder.text(level_name(level));
    builder.text(" ");
    builder.text(event);
    if (error != nullptr) {
        builder.field({"why", error->what});
        if (error->os_errno != 0) builder.field({"errno", errno_name(error->os_errno)});
    }
    for (const Field& field : fields) builder.field(field);
    builder.finish();
}

void limited(std::string_view event, const Error* error, Fields fields) noexcept {
    std::uint64_t dropped = 0;
    {
        Lock hold{sink().lock};
        if (sink().warnings.take(1, TokenBucket::Clock::now()) == 0) {
            ++sink().dropped;
            return;
        }
        dropped = std::exchange(sink().dropped, 0);
    }
    if (dropped != 0) line(Level::Warn, "log.dropped", nullptr, {{"lines", dropped}});
    line(Level::Warn, event, error, fields);
}

}  // namespace

void configure(std::string_view program, Level most) noexcept {
    const std::size_t size = std::min(program.size(), sink().program.size() - 1);
    std::memcpy(sink().program.data(), program.data(), size);
    sink().program[size] = '\0';
    sink().most = most;
}

void error(std::string_view event, Fields fields) noexcept { line(Level::Error, event, nullptr, fields); }
void error(std::string_view event, const Error& error, Fields fields) noexcept {
    line(Level::Error, event, &error, fields);
}
void warn(std::string_view event, Fields fields) noexcept { limited(event, nullptr, fields); }
void warn(std::string_view event, const Error& error, Fields fields) noexcept {
    limited(event, &error, fields);
}
void info(std::string_view event, Fields fields) noexcept { line(Level::Info, event, nullptr, fields); }
void debug(std::string_view event, Fields fields) noexcept { line(Level::Debug, event, nullptr, fields); }

}  // namespace holdfast::log
