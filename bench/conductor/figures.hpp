// SPDX-License-Identifier: Apache-2.0
// What measuring programs print: "name value unit" a line, or Google Benchmark's JSON.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::bench {

/// One quantity, from one or more runs.
struct Figure {
    std::vector<double> values;
    std::string unit;
    [[nodiscard]] double median() const;
    [[nodiscard]] double least() const;
    [[nodiscard]] double most() const;
};
using Figures = std::map<std::string, Figure, std::less<>>;

/// Adds what a program printed. Lines of another form are passed over: programs also talk to people.
void take_lines(Figures& figures, std::string_view text);
/// Adds "NAME.cpu" or "NAME.real" in ns, and for each counter "NAME.COUNTER". False: it is not such JSON.
bool take_google_json(Figures& figures, std::string_view text);

}  // namespace holdfast::bench
