// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/tool.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/pipe.hpp"

namespace holdfast::agent {
namespace {

constexpr std::size_t kMaxInput = 32U << 10;   // a pipe holds it, so that nobody waits for anybody
constexpr std::size_t kMaxOutput = 16U << 10;  // a token of a disk that its host may have written

}  // namespace

Result<ToolRun> run_tool(const char* tool, const std::vector<std::string>& arguments, Bytes input) {
    if (input.size() > kMaxInput) return input_error("too much for a tool");
    Pipe pipe = HF_TRY(make_pipe());
    HF_TRY(write_all(pipe.writing, input));
    pipe.writing.reset();
    const UniqueFd output{::memfd_create("output of a tool", MFD_CLOEXEC)};
    if (!output) return os_error("memfd_create");
    Child child =
        HF_TRY(Child::start(tool, arguments, UniqueFd{}, {.in = pipe.reading.get(), .out = output.get()}));
    ToolRun done{.ending = HF_TRY(child.wait()), .output = {}};
    const auto size = HF_TRY(file_size(output));
    if (size > kMaxOutput) return peer_fault("a tool has said too much");
    done.output.resize(size);
    HF_TRY(pread_exact(output, std::as_writable_bytes(std::span{done.output}), 0));
    return done;
}

Result<void> run_tool_well(const char* tool, const std::vector<std::string>& arguments, Bytes input,
                           const char* otherwise) {
    const ToolRun done = HF_TRY(run_tool(tool, arguments, input));
    if (done.ending.signalled || done.ending.value != 0) return input_error(otherwise);
    return {};
}

}  // namespace holdfast::agent
