// SPDX-License-Identifier: Apache-2.0
// What the compiler and libstdc++'s header-only parts expect a C library to provide, and no more.

#include <cstddef>

#include "guest_agent/builtin/console.hpp"

extern "C" {

void* memcpy(void* __restrict to, const void* __restrict from, std::size_t count) {
    void* result = to;
    // SAFETY: REP MOVSB copies RCX bytes from RSI to RDI and changes nothing but these three.
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    return result;
}

void* memset(void* to, int value, std::size_t count) {
    void* result = to;
    // SAFETY: REP STOSB stores AL to RCX bytes at RDI and changes nothing but RDI and RCX.
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
    return result;
}

void* memmove(void* to, const void* from, std::size_t count) {
    auto* t = static_cast<unsigned char*>(to);
    const auto* f = static_cast<const unsigned char*>(from);
    if (t <= f) {
        for (std::size_t i = 0; i < count; ++i) t[i] = f[i];
    } else {
        for (std::size_t i = count; i-- > 0;) t[i] = f[i];
    }
    return to;
}

int memcmp(const void* a, const void* b, std::size_t count) {
    const auto* x = static_cast<const unsigned char*>(a);
    const auto* y = static_cast<const unsigned char*>(b);
    for (std::size_t i = 0; i < count; ++i) {
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}

// <cstring> declares memchr twice, const and not; the symbol is the same.
const void* find_byte(const void* area, int value, std::size_t count) noexcept asm("memchr");
const void* find_byte(const void* area, int value, std::size_t count) noexcept {
    const auto* p = static_cast<const unsigned char*>(area);
    for (std::size_t i = 0; i < count; ++i) {
        if (p[i] == static_cast<unsigned char>(value)) return p + i;
    }
    return nullptr;
}

std::size_t strlen(const char* text) {
    std::size_t length = 0;
    while (text[length] != '\0') ++length;
    return length;
}

[[noreturn]] void abort() { holdfast::builtin::fail("abort"); }

}  // extern "C"

// Both libstdc++ hooks sit behind checks that only a mistake of ours can fail.
namespace std {
[[gnu::noreturn]] void __glibcxx_assert_fail(const char* file, int line, const char* /*function*/,
                                             const char* condition) noexcept;
void __glibcxx_assert_fail(const char* file, int line, const char* /*function*/,
                           const char* condition) noexcept {
    holdfast::builtin::fail("assertion ", file, ":", static_cast<unsigned>(line), " ", condition);
}
[[gnu::noreturn]] void __throw_out_of_range_fmt(const char* what, ...);
void __throw_out_of_range_fmt(const char* what, ...) { holdfast::builtin::fail("out of range: ", what); }
}  // namespace std
