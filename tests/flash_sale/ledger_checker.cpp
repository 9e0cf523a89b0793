// SPDX-License-Identifier: BSL-1.0

// Checks the files of a sale against each other, and knows nothing of the program that held it.
//
//     ledger_checker <orders> <stock> <ledger> <final stock>    exit code 0, or 1 and what is wrong
//     ledger_checker --make <rows> <orders> <stock>             writes files that no program has seen before
//
// No field may contain a comma or a double quote.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using Row = std::vector<std::string>;

int problems = 0;

void wrong(std::string const& what)
{
    if (++problems <= 10)
        std::cerr << what << '\n';
}

std::vector<Row> read(std::string const& path, std::string const& header)
{
    std::ifstream file(path, std::ios::binary);
    std::string line;
    std::vector<Row> rows;
    for (bool first = true; std::getline(file, line); first = false) {
        if (first && line.rfind("\xEF\xBB\xBF", 0) == 0)
            line.erase(0, 3);
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        if (first) {
            if (line != header)
                wrong(path + ": the header is '" + line + "', not '" + header + "'");
            continue;
        }
        Row row;
        std::istringstream fields(line);
        for (std::string field; std::getline(fields, field, ',');)
            row.push_back(field);
        rows.push_back(row);
    }
    if (!file.eof())
        wrong(path + ": cannot be read");
    return rows;
}

int check(
    std::string const& orders_path, std::string const& stock_path, std::string const& ledger_path,
    std::string const& final_path)
{
    std::unordered_map<std::string, Row> orders;
    for (auto const& row : read(orders_path, "order_id,customer,sku,quantity"))
        orders.emplace(row.at(0), row);
    std::map<std::string, std::int64_t> left;
    for (auto const& row : read(stock_path, "sku,quantity"))
        left[row.at(0)] = std::stoll(row.at(1));
    auto const skus = left.size();

    std::unordered_map<std::string, int> sold;
    std::int64_t before = -1;
    for (auto const& row : read(ledger_path, "sequence,order_id,customer,sku,quantity")) {
        if (row.size() != 5) {
            wrong("the ledger has a row without five columns");
            continue;
        }
        auto const sequence = std::stoll(row[0]);
        if (sequence <= before)
            wrong("order " + row[1] + ": the sequence does not rise");
        before = sequence;
        if (++sold[row[1]] > 1)
            wrong("order " + row[1] + " stands in the ledger twice");
        auto const order = orders.find(row[1]);
        if (order == orders.end() || Row(row.begin() + 1, row.end()) != order->second)
            wrong("order " + row[1] + " was not ordered like that");
        left[row[3]] -= std::stoll(row[4]);
        if (left[row[3]] < 0)
            wrong("order " + row[1] + " oversells " + row[3]);
    }

    std::size_t finals = 0;
    for (auto const& row : read(final_path, "sku,quantity")) {
        ++finals;
        if (left.count(row.at(0)) == 0 || left[row[0]] != std::stoll(row.at(1)))
            wrong(
                row[0] + ": " + row[1] + " are left, by the ledger it should be " +
                std::to_string(left[row[0]]));
    }
    if (finals != skus)
        wrong("the final stock has not the skus of the stock");
    // Stock only shrinks: who was refused wanted more than was left at his turn, so more than is left now.
    for (auto const& [id, order] : orders)
        if (sold.count(id) == 0 && std::stoll(order.at(3)) <= left[order.at(2)])
            wrong("order " + id + " was refused although enough is left");
    if (problems > 0)
        std::cerr << problems << " problems\n";
    return problems == 0 ? 0 : 1;
}

int make(int rows, std::string const& orders_path, std::string const& stock_path)
{
    std::random_device seed;
    auto const number = seed();
    std::cout << "seed " << number << '\n';
    std::mt19937 random(number);
    constexpr int skus = 200;
    std::ofstream stock(stock_path);
    stock << "sku,quantity\n";
    for (int i = 0; i < skus; ++i)
        stock << "item" << i << ',' << random() % static_cast<unsigned>(1 + rows * 3 / skus) << '\n';
    std::ofstream orders(orders_path);
    orders << "order_id,customer,sku,quantity\n";
    std::vector<std::string> last;
    for (int i = 0; i < rows; ++i) {
        std::ostringstream row;
        if (!last.empty() && random() % 10 == 0) {
            row << last[random() % last.size()];
        } else {
            // The square makes the first skus hot.
            auto const sku = random() % skus * (random() % skus) / skus;
            row << 'q' << i << ",c" << random() % 1000 << ",item" << sku << ',' << 1 + random() % 5;
            last.push_back(row.str());
            if (last.size() > 50)
                last.erase(last.begin());
        }
        orders << row.str() << '\n';
    }
    return orders.flush() && stock.flush() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv)
{
    std::vector<std::string> const arguments(argv + 1, argv + argc);
    if (arguments.size() == 4 && arguments[0] == "--make")
        return make(std::atoi(argv[2]), arguments[2], arguments[3]);
    if (arguments.size() == 4)
        return check(arguments[0], arguments[1], arguments[2], arguments[3]);
    std::cerr
        << "usage: ledger_checker <orders> <stock> <ledger> <final stock> | --make <rows> <orders> <stock>\n";
    return 2;
}
