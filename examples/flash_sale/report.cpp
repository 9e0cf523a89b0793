// SPDX-License-Identifier: BSL-1.0

#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>

namespace flash_sale {

namespace {

[[noreturn]] void cannot_write(std::string const& path)
{
    throw BadOutput(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
}

std::string quoted(std::string const& text)
{
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\')
            out += '\\';
        if (static_cast<unsigned char>(c) < 0x20)
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
            out += c;
    }
    return out + '"';
}

}  // namespace

void write_text(std::string const& path, std::string const& text)
{
    auto* const file = std::fopen(path.c_str(), "wb");
    if (file == nullptr)
        cannot_write(path);
    bool const written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    if (std::fclose(file) != 0 || !written)
        cannot_write(path);
}

void check_writable(std::string const& path)
{
    auto* const file = std::fopen(path.c_str(), "ab");
    if (file == nullptr)
        cannot_write(path);
    std::fclose(file);
}

void write_ledger(std::string const& path, std::vector<Record> const& ledger)
{
    std::string text = "sequence,order_id,customer,sku,quantity\n";
    for (auto const& [sequence, sale] : ledger)
        fmt::format_to(
            std::back_inserter(text), "{},{},{},{},{}\n", sequence, csv_field(sale.order_id),
            csv_field(sale.customer), csv_field(sale.sku), sale.quantity);
    write_text(path, text);
}

void write_stock(std::string const& path, std::vector<Stock> const& stock)
{
    std::string text = "sku,quantity\n";
    for (auto const& row : stock)
        fmt::format_to(std::back_inserter(text), "{},{}\n", csv_field(row.sku), row.quantity);
    write_text(path, text);
}

void print_table(std::vector<Summary> const& summaries, Options const& options)
{
    constexpr auto row = "{:<12} {:>9} {:>9} {:>10} {:>9} {:>8} {:>7} {:>9} {:>10} {:>9} {:>9}\n";
    fmt::print(
        fmt::runtime(row), "policy", "accepted", "sold out", "duplicates", "oversold", "lost", "unknown",
        "conflicts", "orders/s", "p50", "p99");
    fmt::print(fmt::runtime(row), "", "", "", "", "units", "updates", "", "", "", "us", "us");
    for (auto const& s : summaries)
        fmt::print(
            fmt::runtime(row), name_of(s.policy), s.accepted, s.sold_out, s.duplicates, s.oversold_units,
            s.lost_updates, s.unknown, s.conflicts, fmt::format("{:.0f}", s.orders_per_second),
            fmt::format("{:.1f}", s.p50_us), fmt::format("{:.1f}", s.p99_us));
    for (auto const& s : summaries)
        if (s.sold_twice > 0)
            fmt::print("{} sold {} repeated orders once more.\n", name_of(s.policy), s.sold_twice);
    for (auto const& s : summaries)
        if (options.processes > 1)
            fmt::print(
                "{}: {} processes, {} lost.\n", name_of(s.policy), options.processes, s.processes_lost);
}

void print_json(Summary const& s, Options const& options)
{
    fmt::print(
        "{{\"policy\":\"{}\",\"backend\":{},\"workers\":{},\"async\":{},\"processes\":{},\"processes_lost\":{"
        "},"
        "\"orders\":{},\"accepted\":{},\"sold_out\":{},\"duplicates\":{},\"sold_twice\":{},\"oversold_"
        "units\":{},\"lost_updates\":{},\"unknown\":{},\"failed\":{},"
        "\"violations\":{},\"conflicts\":{},\"retries\":{},\"seconds\":{:.6f},\"orders_per_second\":{:.0f},"
        "\"p50_us\":{:.1f},\"p99_us\":{:.1f},\"max_us\":{:.1f}}}\n",
        name_of(s.policy), quoted(printable_backend(options.backend)), options.workers, options.async,
        options.processes, s.processes_lost, s.orders, s.accepted, s.sold_out, s.duplicates, s.sold_twice,
        s.oversold_units, s.lost_updates, s.unknown, s.failed, s.violations.size(), s.conflicts, s.retries,
        s.seconds, s.orders_per_second, s.p50_us, s.p99_us, s.max_us);
}

}  // namespace flash_sale
