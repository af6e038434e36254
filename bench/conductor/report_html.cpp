// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "bench/conductor/report.hpp"
#include "sys/markup.hpp"

namespace holdfast::bench {
namespace {

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--line:#8884;--met:#1a7f37;--missed:#c1121f;--dim:#777;--line-on:#b45309}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
td,th{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{width:7rem}th:first-child{width:24rem}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.met{color:var(--met)}.missed{color:var(--missed);font-weight:600}.line{color:var(--line-on)}.not{color:var(--dim);font-style:italic}
small{color:var(--dim)} figure{display:inline-block;margin:1rem 1rem 1rem 0} figcaption{font-weight:600}
svg text{font:11px system-ui,sans-serif;fill:currentColor}
)";

std::string row_html(const Row& row) {
    const Goal& goal = *row.goal;
    const auto beside = [](const std::optional<double>& value, std::string_view name) {
        return value ? fmt::format("{}<br><small>{}</small>", number_words(value), escaped(name))
                     : std::string{};
    };
    const std::string head =
        fmt::format("<tr><td>{}<td>{}", escaped(goal.question), escaped(wanted_words(goal)));
    if (row.verdict == Verdict::NotMeasured) {
        return fmt::format("{}<td colspan=5 class=not>not measured: {}\n", head, escaped(row.why_not));
    }
    const char* const look = row.verdict == Verdict::Met         ? "met"
                             : row.verdict == Verdict::OnTheLine ? "line"
                                                                 : "missed";
    return fmt::format("{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class={}>{}\n", head,
                       number_words(row.ours), beside(row.peer, goal.peer_name),
                       beside(row.limit, goal.limit_name), number_words(row.ratio), look,
                       verdict_words(row.verdict));
}

struct Line {
    std::string name;
    std::vector<std::pair<double, double>> points;
};

/// Figures PREFIX.NAME.X by name.
std::vector<Line> lines_of(const Plot& plot, const Figures& figures) {
    std::vector<Line> lines;
    for (auto at = figures.lower_bound(plot.prefix);
         at != figures.end() && at->first.starts_with(plot.prefix); ++at) {
        const std::string_view rest = std::string_view{at->first}.substr(plot.prefix.size());
        const std::size_t dot = rest.rfind('.');
        if (dot == std::string_view::npos) continue;
        double x = 0;
        const std::string_view number = rest.substr(dot + 1);
        if (std::from_chars(number.data(), number.data() + number.size(), x).ec != std::errc{}) continue;
        const std::string_view name = rest.substr(0, dot);
        if (lines.empty() || lines.back().name != name) lines.push_back({std::string{name}, {}});
        lines.back().points.emplace_back(x, at->second.median());
    }
    for (Line& line : lines) std::ranges::sort(line.points);
    return lines;
}

/// Maps a range of values to a range of pixels.
struct Axis {
    double low = 0;
    double high = 1;
    bool logarithmic = false;
    [[nodiscard]] double place(double value, double from, double to) const {
        const auto scaled = [&](double v) { return logarithmic ? std::log10(std::max(v, 1e-9)) : v; };
        const double span = scaled(high) - scaled(low);
        return from + (span == 0 ? 0.5 : (scaled(value) - scaled(low)) / span) * (to - from);
    }
};

/// Both ends, and powers of ten between them.
std::vector<double> marks_of(const Axis& axis) {
    std::vector<double> marks{axis.low, axis.high};
    if (!axis.logarithmic) return marks;
    for (double mark = 1e-3; mark < 1e9; mark *= 10) {
        // Not so near to an end that they would be written over each other.
        if (mark > axis.low * 1.5 && mark < axis.high / 1.5) marks.push_back(mark);
    }
    return marks;
}

}  // namespace

std::string to_svg(const Plot& plot, const Figures& figures) {
    constexpr double kWidth = 420, kHeight = 260, kLeft = 60, kRight = 110, kTop = 12, kBottom = 40;
    constexpr std::array kColours{"#2563eb", "#ea580c", "#16a34a", "#9333ea"};
    const auto lines = lines_of(plot, figures);
    if (lines.empty()) return {};
    Axis x{lines[0].points[0].first, lines[0].points[0].first, false};
    Axis y{lines[0].points[0].second, lines[0].points[0].second, plot.logarithmic};
    for (const Line& line : lines) {
        for (const auto& [at, value] : line.points) {
            x.low = std::min(x.low, at), x.high = std::max(x.high, at);
            y.low = std::min(y.low, value), y.high = std::max(y.high, value);
        }
    }
    x.logarithmic = x.low > 0 && x.high / x.low > 30;
    std::string svg = fmt::format("<svg viewBox='0 0 {} {}' width={} height={} role=img aria-label='{}'>\n",
                                  kWidth, kHeight, kWidth, kHeight, escaped(plot.title));
    const double right = kWidth - kRight, bottom = kHeight - kBottom;
    svg += fmt::format("<path d='M{} {}V{}H{}' fill=none stroke=currentColor opacity=.5 />\n", kLeft, kTop,
                       bottom, right);
    for (const double value : marks_of(y)) {
        svg += fmt::format("<text x={} y={:.0f} text-anchor=end>{}</text>\n", kLeft - 6,
                           y.place(value, bottom, kTop) + 4, number_words(value));
    }
    for (const double value : {x.low, x.high}) {
        svg += fmt::format("<text x={:.0f} y={} text-anchor=middle>{}</text>\n", x.place(value, kLeft, right),
                           bottom + 16, number_words(value));
    }
    svg += fmt::format("<text x={:.0f} y={} text-anchor=middle>{}</text>\n", (kLeft + right) / 2, bottom + 32,
                       escaped(plot.x));
    svg += fmt::format("<text x=14 y={:.0f} text-anchor=middle transform='rotate(-90 14 {:.0f})'>{}</text>\n",
                       (kTop + bottom) / 2, (kTop + bottom) / 2, escaped(plot.y));
    for (std::size_t i = 0; i < lines.size(); ++i) {
        std::string path;
        const char* const colour = kColours[i % kColours.size()];
        for (const auto& [at, value] : lines[i].points) {
            const double px = x.place(at, kLeft, right), py = y.place(value, bottom, kTop);
            path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", px, py);
            svg += fmt::format("<circle cx={:.1f} cy={:.1f} r=2.5 fill='{}' />\n", px, py, colour);
        }
        svg += fmt::format("<path d='{}' fill=none stroke='{}' stroke-width=1.8 />\n", path, colour);
        svg += fmt::format("<text x={} y={} style='fill:{}'>{}</text>\n", right + 8,
                           kTop + 12 + 15 * static_cast<double>(i), colour, escaped(lines[i].name));
    }
    return svg + "</svg>";
}

std::string to_html(const Report& report) {
    const Machine& on = report.machine;
    std::string html = fmt::format(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\n"
        "<title>holdfast bench</title><style>{}</style>\n<h1>What confidentiality costs on this host</h1>\n"
        "<p>{}, {} x {}, {}, {}. Holdfast {}. Load before: {:.2f}{}.<br><code>{}</code>{}\n",
        kStyle, escaped(on.date), on.processors, escaped(on.processor), escaped(on.memory),
        escaped(on.kernel), escaped(on.version), on.load,
        on.load > 0.5 ? " (busy: figures are too large)" : "", escaped(on.command),
        report.interrupted ? "<br><strong>Interrupted: what is missing says so.</strong>" : "");
    for (const Suite& suite : suites()) {
        const auto outcome = report.outcomes.find(suite.id);
        if (outcome == report.outcomes.end()) continue;
        html += fmt::format(
            "<h2>{}</h2>\n<table><tr><th>what<th>wanted<th class=n>ours<th class=n>peer<th class=n>limit"
            "<th class=n>ratio<th>\n",
            escaped(suite.title));
        for (const Row& row : report.rows) {
            if (row.goal->suite == suite.id) html += row_html(row);
        }
        html += "</table>\n";
        for (const Plot& plot : plots()) {
            if (plot.suite != suite.id) continue;
            const std::string svg = to_svg(plot, outcome->second.figures);
            if (svg.empty()) continue;
            html += fmt::format("<figure><figcaption>{}</figcaption>{}</figure>\n", escaped(plot.title), svg);
        }
    }
    html += "<h2>Published by others</h2>\n<p>Not measured here, on other machines, by other definitions.\n"
            "<table><tr><th>what<th>figure<th>source and method\n";
    for (const Published& each : published()) {
        html += fmt::format("<tr><td>{}<td>{}<td>{}\n", escaped(each.what), escaped(each.figure),
                            escaped(each.source));
    }
    return html + "</table></html>\n";
}

}  // namespace holdfast::bench
