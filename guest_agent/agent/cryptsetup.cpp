// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/cryptsetup.hpp"

#include <string_view>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attest/text/encoding.hpp"
#include "attest/text/json.hpp"
#include "sys/pipe.hpp"
#include "sys/process.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent {
namespace {

constexpr std::size_t kMaxInput = 32U << 10;  // a pipe holds it, so that nobody waits for anybody
constexpr std::size_t kMaxToken = 16U << 10;

struct Run {
    Ending ending;
    std::string output;
};

Result<Run> run(const std::vector<std::string>& arguments, Bytes input) {
    if (input.size() > kMaxInput) return input_error("too much for cryptsetup");
    Pipe pipe = HF_TRY(make_pipe());
    HF_TRY(write_all(pipe.writing, input));
    pipe.writing.reset();
    const UniqueFd output{::memfd_create("cryptsetup", MFD_CLOEXEC)};
    if (!output) return os_error("memfd_create");
    Child child = HF_TRY(
        Child::start(kCryptsetup, arguments, UniqueFd{}, {.in = pipe.reading.get(), .out = output.get()}));
    Run done{.ending = HF_TRY(child.wait()), .output = {}};
    const auto size = HF_TRY(file_size(output));
    if (size > kMaxToken) return peer_fault("a token of the disk that is too long");
    done.output.resize(size);
    HF_TRY(pread_exact(output, std::as_writable_bytes(std::span{done.output}), 0));
    return done;
}

Result<void> run_well(const std::vector<std::string>& arguments, Bytes input, const char* otherwise) {
    const Run done = HF_TRY(run(arguments, input));
    if (done.ending.signalled || done.ending.value != 0) return input_error(otherwise);
    return {};
}

}  // namespace

Result<void> open_luks(const std::string& device, const std::string& name, Bytes key) {
    return run_well({"open", "--type", "luks2", "--disable-external-tokens", "--key-file", "-", device, name},
                    key, "cryptsetup does not open the disk: its words are above");
}

Result<std::optional<std::vector<std::byte>>> read_token(const std::string& device, unsigned id) {
    const Run done = HF_TRY(run({"token", "export", "--token-id", std::to_string(id), device}, {}));
    if (done.ending.signalled || done.ending.value != 0) return std::nullopt;
    const auto document = HF_TRY(attest::JsonDocument::parse(done.output));
    const auto type = attest::string_at(document.root(), "type");
    if (!type || *type != "holdfast") return std::nullopt;
    const auto sealed = HF_TRY(attest::string_at(document.root(), "sealed"));
    return HF_TRY(attest::bytes_of_hex(sealed));
}

Result<void> write_token(const std::string& device, unsigned id, Bytes sealed) {
    const std::string json = R"({"type":"holdfast","keyslots":[],"sealed":")" + hex(sealed) + "\"}";
    return run_well({"token", "import", "--token-id", std::to_string(id), "--token-replace", device},
                    std::as_bytes(std::span{json}), "cryptsetup does not write into the disk's header");
}

}  // namespace holdfast::agent
