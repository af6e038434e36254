// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tdx/collateral_json.hpp"

#include <limits>

#include "attest/text/encoding.hpp"
#include "attest/text/json.hpp"

namespace holdfast::attest::tdx {
namespace {

Result<std::vector<std::byte>> hex_at(JsonValue object, std::string_view name) {
    const auto member = HF_TRY(object.at(name));
    const auto text = HF_TRY(member.string());
    return bytes_of_hex(text);
}

template <typename T>
Result<T> number_at(JsonValue object, std::string_view name) {
    const auto member = HF_TRY(object.at(name));
    const auto number = HF_TRY(member.number());
    if (number > std::numeric_limits<T>::max())
        return input_error("collateral with a number that is out of range");
    return static_cast<T>(number);
}

Result<std::int64_t> time_at(JsonValue object, std::string_view name) {
    const auto text = HF_TRY(string_at(object, name));
    return time_of_text(text);
}

Result<Validity> validity_of(JsonValue object) {
    Validity validity;
    validity.issued = HF_TRY(time_at(object, "issueDate"));
    validity.next_update = HF_TRY(time_at(object, "nextUpdate"));
    validity.evaluation_number = HF_TRY(number_at<std::uint64_t>(object, "tcbEvaluationDataNumber"));
    return validity;
}

Result<TcbStatus> status_at(JsonValue level) {
    const auto status = status_of_name(HF_TRY(string_at(level, "tcbStatus")));
    if (!status) return input_error("collateral with a TCB status that is not known");
    return *status;
}

Result<std::vector<std::string>> advisories_at(JsonValue level) {
    std::vector<std::string> all;
    const auto member = level.find("advisoryIDs");
    if (!member) return all;
    const auto ids = HF_TRY(member->elements());
    for (const JsonValue id : ids) all.push_back(HF_TRY(id.string()));
    return all;
}

Result<std::array<std::uint8_t, 16>> components_at(JsonValue tcb, std::string_view name) {
    const auto member = HF_TRY(tcb.at(name));
    const auto elements = HF_TRY(member.elements());
    std::array<std::uint8_t, 16> components{};
    if (elements.size() != components.size()) return input_error("collateral with other than 16 components");
    for (std::size_t i = 0; i < components.size(); ++i) {
        components[i] = HF_TRY(number_at<std::uint8_t>(elements[i], "svn"));
    }
    return components;
}

Result<std::vector<IsvLevel>> isv_levels_at(JsonValue object) {
    const auto member = HF_TRY(object.at("tcbLevels"));
    const auto elements = HF_TRY(member.elements());
    std::vector<IsvLevel> levels;
    for (const JsonValue element : elements) {
        IsvLevel level;
        const auto tcb = HF_TRY(element.at("tcb"));
        level.isv_svn = HF_TRY(number_at<std::uint16_t>(tcb, "isvsvn"));
        level.status = HF_TRY(status_at(element));
        level.advisories = HF_TRY(advisories_at(element));
        levels.push_back(std::move(level));
    }
    return levels;
}

Result<TcbLevel> tcb_level_of(JsonValue element, bool has_tdx) {
    TcbLevel level;
    const auto tcb = HF_TRY(element.at("tcb"));
    level.sgx = HF_TRY(components_at(tcb, "sgxtcbcomponents"));
    if (has_tdx) level.tdx = HF_TRY(components_at(tcb, "tdxtcbcomponents"));
    level.pce_svn = HF_TRY(number_at<std::uint16_t>(tcb, "pcesvn"));
    level.status = HF_TRY(status_at(element));
    level.advisories = HF_TRY(advisories_at(element));
    return level;
}

Result<ModuleIdentity> module_of(JsonValue object) {
    ModuleIdentity module;
    module.mr_signer = HF_TRY(hex_at(object, "mrsigner"));
    module.attributes = HF_TRY(hex_at(object, "attributes"));
    module.attributes_mask = HF_TRY(hex_at(object, "attributesMask"));
    return module;
}

Result<void> read_modules(JsonValue root, TcbInfo& info) {
    if (const auto module = root.find("tdxModule")) info.module = HF_TRY(module_of(*module));
    const auto identities = root.find("tdxModuleIdentities");
    if (!identities) return {};
    const auto elements = HF_TRY(identities->elements());
    for (const JsonValue element : elements) {
        auto identity = HF_TRY(module_of(element));
        identity.id = HF_TRY(string_at(element, "id"));
        identity.levels = HF_TRY(isv_levels_at(element));
        info.modules.push_back(std::move(identity));
    }
    return {};
}

}  // namespace

Result<TcbInfo> read_tcb_info(std::string_view json) {
    const auto document = HF_TRY(JsonDocument::parse(json));
    const JsonValue root = document.root();
    TcbInfo info;
    // SGX has had TCB info without this name.
    if (root.find("id")) info.id = HF_TRY(string_at(root, "id"));
    info.version = HF_TRY(number_at<std::uint64_t>(root, "version"));
    if (info.version != 3) return input_error("TCB info of a version that is not read (3 is)");
    info.validity = HF_TRY(validity_of(root));
    info.fmspc = HF_TRY(hex_at(root, "fmspc"));
    info.pce_id = HF_TRY(hex_at(root, "pceId"));
    HF_TRY(read_modules(root, info));
    const auto levels = HF_TRY(root.at("tcbLevels"));
    const auto elements = HF_TRY(levels.elements());
    for (const JsonValue element : elements)
        info.levels.push_back(HF_TRY(tcb_level_of(element, info.id == "TDX")));
    return info;
}

Result<QeIdentity> read_qe_identity(std::string_view json) {
    const auto document = HF_TRY(JsonDocument::parse(json));
    const JsonValue root = document.root();
    QeIdentity identity;
    identity.id = HF_TRY(string_at(root, "id"));
    identity.version = HF_TRY(number_at<std::uint64_t>(root, "version"));
    if (identity.version != 2) return input_error("an enclave identity of a version that is not read (2 is)");
    identity.validity = HF_TRY(validity_of(root));
    identity.misc_select = HF_TRY(hex_at(root, "miscselect"));
    identity.misc_select_mask = HF_TRY(hex_at(root, "miscselectMask"));
    identity.attributes = HF_TRY(hex_at(root, "attributes"));
    identity.attributes_mask = HF_TRY(hex_at(root, "attributesMask"));
    identity.mr_signer = HF_TRY(hex_at(root, "mrsigner"));
    identity.isv_prod_id = HF_TRY(number_at<std::uint16_t>(root, "isvprodid"));
    identity.levels = HF_TRY(isv_levels_at(root));
    return identity;
}

}  // namespace holdfast::attest::tdx
