// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over every file of a corpus directory, without a fuzzer: what `meson test`
// does with each target under every compiler.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    std::size_t inputs = 0;
    for (int i = 1; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i])) continue;
        for (const auto& entry : std::filesystem::recursive_directory_iterator{argv[i]}) {
            if (!entry.is_regular_file()) continue;
            std::ifstream file{entry.path(), std::ios::binary};
            const std::vector<char> text{std::istreambuf_iterator<char>{file}, {}};
            const std::vector<std::uint8_t> bytes{text.begin(), text.end()};
            LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
            ++inputs;
        }
    }
    LLVMFuzzerTestOneInput(nullptr, 0);
    std::printf("%zu inputs\n", inputs);
    return inputs == 0 ? 1 : 0;  // a corpus that went missing must not pass
}
