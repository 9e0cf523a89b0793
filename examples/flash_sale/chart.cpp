// SPDX-License-Identifier: BSL-1.0

#include "chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <string_view>

namespace flash_sale {

namespace {

constexpr double left = 110;        // where bars begin
constexpr double bars = 330;        // how long the longest one is
constexpr double waits_left = 540;  // where the second half begins
constexpr double waits = 320;
constexpr double top = 92;
constexpr double row_height = 58;

constexpr std::string_view style = R"(<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.back { fill: #ffffff } .line { stroke: #d0d7de } .sold { fill: #2da44e } .refused { fill: #afb8c1 }
.oversold { fill: #cf222e } .middle { fill: #0969da } .wait { stroke: #0969da; stroke-width: 3 }
.alarm { fill: #cf222e; font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .back { fill: #0d1117 } .line { stroke: #3d444d }
  .sold { fill: #3fb950 } .refused { fill: #656c76 } .oversold { fill: #f85149 }
  .middle { fill: #58a6ff } .wait { stroke: #58a6ff } .alarm { fill: #f85149 }
}
</style>
)";

/// A text within XML.
std::string escaped(std::string_view text)
{
    std::string all;
    for (char const c : text) {
        switch (c) {
        case '<': all += "&lt;"; break;
        case '>': all += "&gt;"; break;
        case '&': all += "&amp;"; break;
        case '"': all += "&quot;"; break;
        default: all += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
        }
    }
    return all;
}

std::string duration(double us)
{
    if (us < 1000)
        return fmt::format("{:.0f} µs", us);
    return us < 1e6 ? fmt::format("{:.1f} ms", us / 1e3) : fmt::format("{:.1f} s", us / 1e6);
}

void text(std::string& svg, double x, double y, std::string_view what, std::string_view attributes = {})
{
    fmt::format_to(
        std::back_inserter(svg), "<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes,
        escaped(what));
}

/// A bar of `amount` behind what is there already; the end of it.
double bar(
    std::string& svg, double x, double y, double height, double amount, double scale, std::string_view kind,
    std::string_view what)
{
    auto const length = amount * scale;
    fmt::format_to(
        std::back_inserter(svg),
        "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\"><title>{:.0f} "
        "{}</title></rect>\n",
        kind, x, y, length, height, amount, what);
    return x + length;
}

void draw_orders(std::string& svg, Summary const& s, double y, double scale)
{
    auto const oversold = static_cast<double>(s.oversold_units);
    auto end = bar(svg, left, y, 20, static_cast<double>(s.accepted), scale, "sold", "sold");
    end = bar(svg, end, y, 20, static_cast<double>(s.sold_out), scale, "refused", "refused, sold out");
    if (s.oversold_units > 0)
        bar(svg, left, y + 21, 6, oversold, scale, "oversold", "units sold that were not there");
    text(svg, left - 10, y + 15, name_of(s.policy), "text-anchor=\"end\"");
    auto const sold =
        fmt::format("{} sold, {} refused, {:.0f} orders/s", s.accepted, s.sold_out, s.orders_per_second);
    auto const wrong = s.oversold_units > 0 || s.lost_updates > 0
                           ? fmt::format(
                                 "<tspan class=\"alarm\" dx=\"8\">{} oversold, {} lost</tspan>",
                                 s.oversold_units, s.lost_updates)
                           : std::string{};
    svg += fmt::format(
        "<text class=\"small\" x=\"{:.1f}\" y=\"{:.1f}\">{}{}</text>\n", left, y + 40, sold, wrong);
}

/// On a logarithmic scale from 1 µs to `most`.
void draw_waits(std::string& svg, Summary const& s, double y, double most)
{
    auto const place = [&](double us) {
        return waits_left + waits * std::log10(std::max(us, 1.0)) / std::log10(most);
    };
    fmt::format_to(
        std::back_inserter(svg),
        "<line class=\"wait\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", place(s.p50_us),
        place(s.max_us), y + 10, y + 10);
    for (auto const us : {s.p50_us, s.p99_us, s.max_us})
        fmt::format_to(
            std::back_inserter(svg),
            "<circle class=\"middle\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"><title>{}</title></circle>\n",
            place(us), y + 10, duration(us));
    text(
        svg, waits_left, y + 40,
        fmt::format(
            "half within {}, 99 % within {}, all within {}", duration(s.p50_us), duration(s.p99_us),
            duration(s.max_us)),
        "class=\"small\"");
}

}  // namespace

std::string chart_of(std::vector<Summary> const& summaries, Options const& options)
{
    double most_orders = 1;
    double longest = 10;
    for (auto const& s : summaries) {
        most_orders = std::max(most_orders, static_cast<double>(s.accepted + s.sold_out));
        most_orders = std::max(most_orders, static_cast<double>(s.oversold_units));
        longest = std::max(longest, s.max_us);
    }
    auto const height = top + row_height * static_cast<double>(summaries.size()) + 24;
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 {0:.0f}\" width=\"900\" "
        "height=\"{0:.0f}\">\n{1}<rect class=\"back\" width=\"900\" height=\"{0:.0f}\"/>\n",
        height, style);
    text(
        svg, 20, 32,
        fmt::format(
            "One stock, {} workers{} on {}", options.workers,
            options.processes > 1 ? fmt::format(" in each of {} processes", options.processes) : "",
            options.backend.starts_with("memory:") ? "memory" : printable_backend(options.backend)),
        "class=\"title\"");
    text(svg, left, 66, "orders that were sold, refused, oversold");
    text(svg, waits_left, 66, "how long a customer waited: median, 99 %, longest");
    auto const scale = bars / most_orders;
    for (std::size_t i = 0; i < summaries.size(); ++i) {
        auto const y = top + row_height * static_cast<double>(i);
        fmt::format_to(
            std::back_inserter(svg),
            "<line class=\"line\" x1=\"20\" x2=\"880\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/>\n", y - 10);
        draw_orders(svg, summaries[i], y, scale);
        draw_waits(svg, summaries[i], y, longest);
    }
    return svg += "</svg>\n";
}

}  // namespace flash_sale
