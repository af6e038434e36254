// SPDX-License-Identifier: Apache-2.0
#include "bpf.hpp"

#include <cstring>
#include <stdexcept>

#include <linux/seccomp.h>

namespace holdfast::sandbox {
namespace {

std::uint32_t load(const seccomp_data& data, std::uint32_t offset) {
    std::uint32_t word = 0;
    if (offset % 4 != 0 || offset + sizeof word > sizeof data) throw std::out_of_range("load");
    std::array<std::byte, sizeof data> bytes{};
    std::memcpy(bytes.data(), &data, sizeof data);
    std::memcpy(&word, &bytes[offset], sizeof word);
    return word;
}

bool jumps(std::uint16_t code, std::uint32_t accumulator, std::uint32_t k) {
    switch (BPF_OP(code)) {
        case BPF_JEQ: return accumulator == k;
        case BPF_JGT: return accumulator > k;
        case BPF_JGE: return accumulator >= k;
        case BPF_JSET: return (accumulator & k) != 0;
        default: throw std::invalid_argument("jump");
    }
}

}  // namespace

std::uint32_t verdict(std::span<const sock_filter> code, const Call& call) {
    seccomp_data data{.nr = call.number, .arch = call.architecture, .instruction_pointer = 0, .args = {}};
    for (std::size_t i = 0; i < call.arguments.size(); ++i) data.args[i] = call.arguments[i];
    std::uint32_t accumulator = 0;
    // Jumps only go forward, so this ends.
    for (std::size_t at = 0; at < code.size(); ++at) {
        const sock_filter& one = code[at];
        switch (one.code) {
            case BPF_LD | BPF_W | BPF_ABS: accumulator = load(data, one.k); break;
            case BPF_ALU | BPF_AND | BPF_K: accumulator &= one.k; break;
            case BPF_JMP | BPF_JA: at += one.k; break;
            case BPF_RET | BPF_K: return one.k;
            default:
                if (BPF_CLASS(one.code) != BPF_JMP) throw std::invalid_argument("instruction");
                at += jumps(one.code, accumulator, one.k) ? one.jt : one.jf;
        }
    }
    throw std::out_of_range("end of the program");
}

}  // namespace holdfast::sandbox
