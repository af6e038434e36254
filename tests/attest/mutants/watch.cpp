// SPDX-License-Identifier: Apache-2.0
// Stands between every check of attest/ and Findings::add (ld --wrap): notes which place in the code
// reports which code in which test, and swallows what one place reports. That place is then a check that
// somebody has deleted.
//     HOLDFAST_SEEN=FILE       appends "SITE CODE TEST" lines
//     HOLDFAST_MUTE=SITE:CODE  swallows
// SITE is the call's return address in the executable, in hexadecimal.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "attest/finding.hpp"

extern "C" const char __executable_start;  // the linker's

namespace holdfast::attest {
namespace {

class Seen {
public:
    ~Seen() {
        const char* const path = std::getenv("HOLDFAST_SEEN");
        std::FILE* const file = path == nullptr ? nullptr : std::fopen(path, "a");
        if (file == nullptr) return;
        for (const std::string& line : lines_) std::fputs(line.c_str(), file);
        std::fclose(file);
    }
    void note(const std::string& what) {
        const testing::TestInfo* const test = testing::UnitTest::GetInstance()->current_test_info();
        lines_.insert(what + ' ' +
                      (test == nullptr ? "-" : std::string{test->test_suite_name()} + '.' + test->name()) +
                      '\n');
    }

private:
    std::set<std::string> lines_;
};

std::string place(std::uintptr_t site, Code code, char between) {
    char text[64];
    std::snprintf(text, sizeof text, "%zx%c%s", site, between, std::string{row_of(code).name}.c_str());
    return text;
}

}  // namespace

// SAFETY: a member function is called as a function whose first argument is `this` (Itanium C++ ABI).
extern "C" void __real__ZN8holdfast6attest8Findings3addENS0_4CodeESt17basic_string_viewIcSt11char_traitsIcEE(
    Findings* self, Code code, std::string_view detail);
extern "C" void __wrap__ZN8holdfast6attest8Findings3addENS0_4CodeESt17basic_string_viewIcSt11char_traitsIcEE(
    Findings* self, Code code, std::string_view detail) {
    static Seen seen;
    static const char* const mute = std::getenv("HOLDFAST_MUTE");
    const std::uintptr_t site = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)) -
                                reinterpret_cast<std::uintptr_t>(&__executable_start);
    if (mute != nullptr && place(site, code, ':') == mute) return;
    seen.note(place(site, code, ' '));
    __real__ZN8holdfast6attest8Findings3addENS0_4CodeESt17basic_string_viewIcSt11char_traitsIcEE(self, code,
                                                                                                 detail);
}

}  // namespace holdfast::attest
