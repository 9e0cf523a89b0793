// SPDX-License-Identifier: BSL-1.0

#include <fmt/format.h>

#include "report.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <unordered_map>

namespace flash_sale {

namespace {

using Skus = std::unordered_map<std::string_view, std::size_t>;

Skus index_of(std::vector<Stock> const& stock)
{
    Skus index;
    for (std::size_t i = 0; i < stock.size(); ++i)
        index.emplace(stock[i].sku, i);
    return index;
}

/// The sale is the answer to the order, and not to another one.
bool answers(Sale const& sale, Order const& order)
{
    return sale.order_id == order.order_id && sale.customer == order.customer && sale.sku == order.sku &&
           sale.quantity == order.quantity;
}

/// Replays the store's records against the stock of the input, as if one clerk had served all of them in
/// turn.
void check_records(Input const& input, Result const& result, std::vector<std::string>& violations)
{
    auto const skus = index_of(input.stock);
    auto replayed = input.stock;
    std::unordered_map<std::string_view, Record const*> record_of;
    for (auto const& record : result.records) {
        auto const& sale = record.sale;
        if (!record_of.emplace(sale.order_id, &record).second)
            violations.push_back(fmt::format("order '{}' has two records", sale.order_id));
        auto const sku = skus.find(sale.sku);
        if (sku == skus.end()) {
            violations.push_back(fmt::format("order '{}' is recorded for an unknown sku", sale.order_id));
            continue;
        }
        auto& stock = replayed[sku->second];
        if (sale.accepted != (sale.quantity <= stock.quantity))
            violations.push_back(fmt::format(
                "order '{}' for {} was {} when {} were left", sale.order_id, sale.quantity,
                sale.accepted ? "accepted" : "refused", stock.quantity));
        if (sale.accepted) {
            stock.quantity -= sale.quantity;
            ++stock.sales;
        }
    }
    for (std::size_t i = 0; i < replayed.size(); ++i) {
        auto const& stock = result.final_stock[i];
        if (stock.quantity < 0 || stock.quantity != replayed[i].quantity || stock.sales != replayed[i].sales)
            violations.push_back(fmt::format(
                "'{}' ends with {} left after {} sales, its records say {} after {}", stock.sku,
                stock.quantity, stock.sales, replayed[i].quantity, replayed[i].sales));
    }
    std::vector<bool> executed(input.orders.size());
    for (std::size_t row = 0; row < input.orders.size(); ++row) {
        auto const& order = input.orders[row];
        auto const& reply = result.replies[row];
        auto const record = record_of.find(order.order_id);
        if (reply.kind == Reply::Kind::failed)
            violations.push_back(fmt::format("order '{}' was not served: {}", order.order_id, reply.error));
        if (reply.kind != Reply::Kind::answered)
            continue;
        if (record == record_of.end())
            violations.push_back(fmt::format("order '{}' was answered, but has no record", order.order_id));
        else if (record->second->sale != reply.sale || !answers(reply.sale, order))
            violations.push_back(
                fmt::format("order '{}' got another answer than was recorded", order.order_id));
        if (!reply.replayed && executed[order.first_row])
            violations.push_back(fmt::format("order '{}' was executed twice", order.order_id));
        executed[order.first_row] = executed[order.first_row] || !reply.replayed;
    }
}

void count_replies(Input const& input, Result const& result, Summary& summary)
{
    bool const guarded = result.policy != Policy::unguarded;
    std::vector<bool> served(input.orders.size());
    std::vector<bool> sold(input.orders.size());
    for (std::size_t row = 0; row < input.orders.size(); ++row) {
        auto const& reply = result.replies[row];
        auto const first = input.orders[row].first_row;
        if (reply.kind == Reply::Kind::unknown) {
            ++summary.unknown;
        } else if (reply.kind == Reply::Kind::failed) {
            ++summary.failed;
        } else if (guarded && served[first]) {
            ++summary.duplicates;
        } else {
            ++(reply.sale.accepted ? summary.accepted : summary.sold_out);
            if (reply.sale.accepted && sold[first])
                ++summary.sold_twice;
            sold[first] = sold[first] || reply.sale.accepted;
            served[first] = true;
        }
    }
}

void count_damage(Input const& input, Result const& result, Summary& summary)
{
    auto const skus = index_of(input.stock);
    auto sold = input.stock;  // quantity and sales as the ledger has them
    for (auto& stock : sold)
        stock.quantity = 0;
    for (auto const& record : ledger(result)) {
        auto& stock = sold[skus.at(record.sale.sku)];
        stock.quantity += record.sale.quantity;
        ++stock.sales;
    }
    for (std::size_t i = 0; i < sold.size(); ++i) {
        summary.oversold_units += std::max<std::int64_t>(0, sold[i].quantity - input.stock[i].quantity);
        summary.lost_updates += std::max<std::int64_t>(0, sold[i].sales - result.final_stock[i].sales);
    }
}

void measure(Result const& result, Summary& summary)
{
    std::vector<std::int64_t> sorted;
    for (auto const& reply : result.replies)
        sorted.push_back(reply.nanoseconds);
    std::sort(sorted.begin(), sorted.end());
    auto const at = [&](double share) {
        if (sorted.empty())
            return 0.0;
        auto const i = static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5);
        return static_cast<double>(sorted[i]) / 1000;
    };
    summary.p50_us = at(0.50);
    summary.p99_us = at(0.99);
    summary.max_us = at(1.0);
    summary.seconds = result.seconds.count();
    if (summary.seconds > 0)
        summary.orders_per_second = static_cast<double>(summary.orders) / summary.seconds;
}

}  // namespace

std::vector<Record> ledger(Result const& result)
{
    std::vector<Record> accepted;
    if (result.policy != Policy::unguarded) {
        for (auto const& record : result.records)
            if (record.sale.accepted)
                accepted.push_back(record);
        return accepted;
    }
    for (std::size_t row = 0; row < result.replies.size(); ++row)
        if (auto const& reply = result.replies[row]; reply.sale.accepted)
            accepted.push_back({row + 1, reply.sale});
    return accepted;
}

Summary audit(Input const& input, Result const& result)
{
    Summary summary;
    summary.policy = result.policy;
    summary.orders = input.orders.size();
    summary.conflicts = result.conflicts;
    summary.retries = result.retries;
    summary.processes_lost = result.processes_lost;
    if (result.policy != Policy::unguarded)
        check_records(input, result, summary.violations);
    count_replies(input, result, summary);
    count_damage(input, result, summary);
    measure(result, summary);
    return summary;
}

}  // namespace flash_sale
