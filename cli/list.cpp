// SPDX-License-Identifier: Apache-2.0
// holdfast list
#include <ctime>

#include <fmt/format.h>

#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/state.hpp"

namespace holdfast::cli {

int list_vms(const ListOptions& options, const std::string& state_dir) {
    const auto vms = find_vms(state_dir);
    if (options.json) {
        std::string text = "[";
        for (const FoundVm& vm : vms) text += (text.size() == 1 ? "\n" : ",\n") + to_json(vm.record);
        write_text(1, text + "]\n");
        return 0;
    }
    if (vms.empty()) {
        print("no VMs. Launch one: holdfast run --builtin\n");
        return 0;
    }
    const std::int64_t now = std::time(nullptr);
    std::vector<std::vector<std::string>> rows{
        {"NAME", "STATE", "SINCE", "MEMORY", "CPUS", "ENCRYPTION", "BOOTS"}};
    for (const FoundVm& vm : vms) {
        const Record& record = vm.record;
        rows.push_back({record.name,
                        record.state == "ended" ? fmt::format("ended ({})", record.end_reason) : record.state,
                        age_words(now - (record.state == "ended" ? record.ended_at : record.started_at)),
                        size_words(record.memory_bytes), fmt::to_string(record.cpus), record.tier,
                        printable(record.boots)});
    }
    print_table(rows);
    return 0;
}

}  // namespace holdfast::cli
