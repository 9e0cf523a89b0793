// SPDX-License-Identifier: BSL-1.0

#include "orders.hpp"

#include <interlock/core/key.hpp>
#include <interlock/core/operation_id.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string_view>
#include <system_error>
#include <unordered_map>

namespace flash_sale {

namespace {

constexpr std::int64_t max_quantity = 1'000'000'000'000;  // so that no sum of a file's quantities overflows
constexpr std::size_t max_customer = 1024;

/// Reads a CSV file row by row. The fields it shows live until the next row.
class Csv {
public:
    Csv(std::string path, std::string_view header, std::size_t columns)
        : path_(std::move(path)), columns_(columns)
    {
        read();
        rest_ = text_;
        if (rest_.starts_with("\xEF\xBB\xBF"))
            rest_.remove_prefix(3);
        std::string_view line;
        if (!next_line(line)) {
            line_ = 1;
            fail(fmt::format("the file is empty, expected the header '{}'", header));
        }
        if (line != header)
            fail(fmt::format("expected the header '{}'", header));
    }

    /// False at the end of the file.
    bool next_row()
    {
        std::string_view line;
        if (!next_line(line))
            return false;
        if (line.empty())
            fail("the line is empty");
        split(line);
        return true;
    }

    std::size_t line() const noexcept { return line_; }

    std::string text(std::size_t column, std::string_view name, std::size_t limit) const
    {
        auto const& field = fields_[column];
        if (field.find_first_not_of(' ') == std::string::npos)
            fail(fmt::format("{} is empty", name));
        if (field.size() > limit)
            fail(fmt::format("{} has {} bytes, the limit is {}", name, field.size(), limit));
        return field;
    }

    std::int64_t number(std::size_t column, std::string_view name, std::int64_t least) const
    {
        auto const& field = fields_[column];
        if (field.empty())
            fail(fmt::format("{} is empty", name));
        std::int64_t value = 0;
        auto const end = std::from_chars(field.data(), field.data() + field.size(), value);
        bool const whole = end.ptr == field.data() + field.size();
        if (end.ec == std::errc::invalid_argument || !whole)
            fail(fmt::format("{} is '{}', expected a whole number", name, field));
        if (end.ec != std::errc{} || value < least || value > max_quantity)
            fail(fmt::format("{} is {}, expected {} to {}", name, field, least, max_quantity));
        return value;
    }

    [[noreturn]] void fail(std::string const& what) const
    {
        throw BadInput(fmt::format("{}:{}: {}", path_, line_, what));
    }

private:
    void read()
    {
        struct Close {
            void operator()(std::FILE* file) const noexcept { std::fclose(file); }
        };
        std::unique_ptr<std::FILE, Close> const file(std::fopen(path_.c_str(), "rb"));
        std::vector<char> block(std::size_t{1} << 20);
        while (file != nullptr) {
            auto const size = std::fread(block.data(), 1, block.size(), file.get());
            text_.append(block.data(), size);
            if (size < block.size())
                break;
        }
        if (file == nullptr || std::ferror(file.get()) != 0)
            throw BadInput(fmt::format("{}: cannot be read: {}", path_, std::strerror(errno)));
    }

    bool next_line(std::string_view& line)
    {
        if (rest_.empty())
            return false;
        ++line_;
        auto const end = rest_.find('\n');
        line = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        return true;
    }

    void split(std::string_view line)
    {
        std::size_t count = 0;
        for (std::size_t at = 0;;) {
            auto& field = count < columns_ ? fields_[count] : spare_;
            ++count;
            field.clear();
            if (at < line.size() && line[at] == '"')
                at = quoted(line, at + 1, field);
            else
                at = plain(line, at, field);
            if (at == line.size())
                break;
            ++at;  // the comma
        }
        if (count != columns_)
            fail(fmt::format("{} columns, expected {}", count, columns_));
    }

    std::size_t plain(std::string_view line, std::size_t at, std::string& field) const
    {
        auto const end = std::min(line.find(',', at), line.size());
        field = line.substr(at, end - at);
        if (field.find('"') != std::string::npos)
            fail("a double quote inside a field that does not begin with one");
        check(field);
        return end;
    }

    std::size_t quoted(std::string_view line, std::size_t at, std::string& field) const
    {
        for (;; ++at) {
            if (at == line.size())
                fail("a field that begins with a double quote does not end with one");
            if (line[at] == '"') {
                if (at + 1 == line.size() || line[at + 1] != '"')
                    break;
                ++at;  // two of them stand for one
            }
            field += line[at];
        }
        if (++at != line.size() && line[at] != ',')
            fail("text after the closing double quote of a field");
        check(field);
        return at;
    }

    void check(std::string const& field) const
    {
        for (char c : field)
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
                fail("a control character");
    }

    std::string path_;
    std::string text_;
    std::string_view rest_;
    std::size_t line_{0};
    std::size_t columns_;
    std::array<std::string, 4> fields_;
    std::string spare_;
};

std::vector<Stock> read_stock(std::string const& path)
{
    Csv csv(path, "sku,quantity", 2);
    std::vector<Stock> stock;
    std::unordered_map<std::string, std::size_t> line_of;
    while (csv.next_row()) {
        Stock row{csv.text(0, "sku", interlock::Key::max_size), csv.number(1, "quantity", 0)};
        if (auto const [at, fresh] = line_of.try_emplace(row.sku, csv.line()); !fresh)
            csv.fail(fmt::format("sku '{}' is already in line {}", row.sku, at->second));
        stock.push_back(std::move(row));
    }
    return stock;
}

std::vector<Order> read_orders(std::string const& path, std::vector<Stock> const& stock)
{
    Csv csv(path, "order_id,customer,sku,quantity", 4);
    std::unordered_map<std::string, std::size_t> known;
    for (auto const& row : stock)
        known.emplace(row.sku, 0);
    struct First {
        std::size_t row;
        std::size_t line;
    };
    std::unordered_map<std::string, First> first_of;  // a repeated request must be the same
    std::vector<Order> orders;
    while (csv.next_row()) {
        Order order{
            csv.text(0, "order_id", interlock::OperationId::max_size), csv.text(1, "customer", max_customer),
            csv.text(2, "sku", interlock::Key::max_size), csv.number(3, "quantity", 1), orders.size()};
        if (order.order_id.find('"') != std::string::npos)
            csv.fail("order_id has a double quote");  // "a" and a are one idempotency key
        if (!known.contains(order.sku))
            csv.fail(fmt::format("sku '{}' is not in the stock file", order.sku));
        auto const [at, fresh] = first_of.try_emplace(order.order_id, First{order.first_row, csv.line()});
        if (!fresh) {
            auto const& first = orders[at->second.row];
            if (first.customer != order.customer || first.sku != order.sku ||
                first.quantity != order.quantity)
                csv.fail(fmt::format(
                    "order_id '{}' is in line {} already, with other content", order.order_id,
                    at->second.line));
            order.first_row = at->second.row;
        }
        orders.push_back(std::move(order));
    }
    return orders;
}

}  // namespace

Input read_input(std::string const& orders_path, std::string const& stock_path)
{
    Input input;
    input.stock = read_stock(stock_path);
    input.orders = read_orders(orders_path, input.stock);
    return input;
}

Input generate_input(Generator const& generator)
{
    // Own arithmetic on the bits instead of the standard's distributions: the same seed is the same sale
    // everywhere.
    std::mt19937_64 bits(generator.seed);
    auto const fraction = [&] { return static_cast<double>(bits() >> 11) * 0x1p-53; };
    auto const below = [&](std::size_t n) { return static_cast<std::size_t>(bits() % n); };
    constexpr std::size_t largest_order = 4;

    std::vector<double> popularity(generator.skus);  // summed up
    double total = 0;
    for (std::size_t i = 0; i < popularity.size(); ++i)
        popularity[i] = total += std::pow(static_cast<double>(i + 1), -generator.zipf);

    Input input;
    double const units = static_cast<double>(generator.orders) * (1 - generator.duplicates / 100) *
                         (static_cast<double>(largest_order) + 1) / 2;
    for (std::size_t i = 0; i < generator.skus; ++i) {
        double const wanted = units * (popularity[i] - (i == 0 ? 0 : popularity[i - 1])) / total;
        bool const hot = i <= generator.skus / 5;
        auto const quantity = static_cast<std::int64_t>(hot ? wanted * 0.7 : wanted * 1.5 + 10);
        input.stock.push_back({fmt::format("sku-{:03}", i + 1), quantity});
    }

    input.orders.reserve(generator.orders);
    for (std::size_t row = 0; row < generator.orders; ++row) {
        if (row > 0 && fraction() * 100 < generator.duplicates) {
            // An impatient client: the first request may still be on its way.
            input.orders.push_back(input.orders[row - 1 - below(std::min<std::size_t>(row, 32))]);
            continue;
        }
        auto const wanted = std::upper_bound(popularity.begin(), popularity.end(), fraction() * total);
        auto const sku = std::min(static_cast<std::size_t>(wanted - popularity.begin()), generator.skus - 1);
        input.orders.push_back(
            {fmt::format("order-{:07}", row + 1), fmt::format("customer-{:04}", below(10000)),
             input.stock[sku].sku, static_cast<std::int64_t>(1 + below(largest_order)), row});
    }
    return input;
}

std::string csv_field(std::string const& field)
{
    if (field.find_first_of(",\"") == std::string::npos)
        return field;
    std::string out = "\"";
    for (char c : field)
        out.append(c == '"' ? 2 : 1, c);
    return out + '"';
}

}  // namespace flash_sale
