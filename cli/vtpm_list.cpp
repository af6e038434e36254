// SPDX-License-Identifier: Apache-2.0
// holdfast vtpm list
#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/vtpm.hpp"

namespace holdfast::cli {

std::string uuid_of(const vtpm::Id& id) {
    std::string text;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", static_cast<unsigned>(id[i]));
    }
    return text;
}

nlohmann::ordered_json to_json(const FoundVtpm& found) {
    const bool damaged = !found.damage.empty();
    nlohmann::ordered_json json{{"name", found.name},
                                {"state", damaged         ? "damaged"
                                          : found.serving ? "serving"
                                                          : "stopped"},
                                {"id", nullptr},
                                {"created_at", nullptr},
                                {"state_file", found.file}};
    if (damaged) {
        json["damage"] = found.damage;
        return json;
    }
    json["id"] = uuid_of(found.owner.identity.id);
    json["created_at"] = found.owner.created;
    return json;
}

int list_vtpms(const VtpmListOptions& options, const std::string& state_dir) {
    const auto all = VtpmHome{state_dir}.list();
    if (options.json) {
        auto json = nlohmann::ordered_json::array();
        for (const FoundVtpm& found : all) json.push_back(to_json(found));
        write_text(1, json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
        return 0;
    }
    if (all.empty()) {
        print("no vTPMs. Make one: holdfast vtpm create NAME\n");
        return 0;
    }
    const std::int64_t now = std::time(nullptr);
    std::vector<std::vector<std::string>> rows{{"NAME", "STATE", "ID", "AGE"}};
    for (const FoundVtpm& found : all) {
        if (!found.damage.empty()) {
            rows.push_back({printable(found.name), "damaged", found.damage, ""});
            continue;
        }
        rows.push_back({found.name, found.serving ? "serving" : "stopped", uuid_of(found.owner.identity.id),
                        age_words(now - static_cast<std::int64_t>(found.owner.created))});
    }
    print_table(rows);
    return 0;
}

}  // namespace holdfast::cli
