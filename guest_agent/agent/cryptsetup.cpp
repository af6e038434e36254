// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/cryptsetup.hpp"

#include "attest/text/encoding.hpp"
#include "attest/text/json.hpp"
#include "guest_agent/agent/tool.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent {

Result<void> open_luks(const std::string& device, const std::string& name, Bytes key) {
    return run_tool_well(
        kCryptsetup,
        {"open", "--type", "luks2", "--disable-external-tokens", "--key-file", "-", device, name}, key,
        "cryptsetup does not open the disk: its words are above");
}

Result<std::optional<std::vector<std::byte>>> read_token(const std::string& device, unsigned id) {
    const ToolRun done =
        HF_TRY(run_tool(kCryptsetup, {"token", "export", "--token-id", std::to_string(id), device}, {}));
    if (done.ending.signalled || done.ending.value != 0) return std::nullopt;
    const auto document = HF_TRY(attest::JsonDocument::parse(done.output));
    const auto type = attest::string_at(document.root(), "type");
    if (!type || *type != "holdfast") return std::nullopt;
    const auto sealed = HF_TRY(attest::string_at(document.root(), "sealed"));
    return HF_TRY(attest::bytes_of_hex(sealed));
}

Result<void> write_token(const std::string& device, unsigned id, Bytes sealed) {
    const std::string json = R"({"type":"holdfast","keyslots":[],"sealed":")" + hex(sealed) + "\"}";
    return run_tool_well(kCryptsetup,
                         {"token", "import", "--token-id", std::to_string(id), "--token-replace", device},
                         std::as_bytes(std::span{json}), "cryptsetup does not write into the disk's header");
}

}  // namespace holdfast::agent
