// SPDX-License-Identifier: BSL-1.0

// The rival: what one writes by hand. The first form changes the value in place, so that an operation which
// throws leaves half a change. The second form works on a copy and can roll back, as the library does.

#include "contestants.hpp"

#include <array>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace {

class Stocks {
public:
    void insert(Stock stock)
    {
        auto& shard = shard_of(stock.sku);
        std::lock_guard lock(shard.mutex);
        auto key = stock.sku;
        shard.stocks.emplace(std::move(key), std::move(stock));
    }

    template <class F>
    void change(std::string const& key, F&& operation)
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        operation(find(shard, key));
    }

    template <class F>
    void change_or_roll_back(std::string const& key, F&& operation)
    {
        auto& shard = shard_of(key);
        std::lock_guard lock(shard.mutex);
        auto& stock = find(shard, key);
        auto copy = stock;
        operation(copy);
        stock = std::move(copy);
    }

private:
    struct alignas(64) Shard {
        std::mutex mutex;
        std::unordered_map<std::string, Stock> stocks;
    };

    Shard& shard_of(std::string const& key)
    {
        auto const hash = std::hash<std::string>{}(key);
        return shards_[(hash ^ hash >> 17) % shards_.size()];
    }

    static Stock& find(Shard& shard, std::string const& key)
    {
        auto const it = shard.stocks.find(key);
        if (it == shard.stocks.end())
            throw std::out_of_range(key);
        return it->second;
    }

    std::array<Shard, 64> shards_;
};

template <class Change>
double run(Plan const& plan, Change change)
{
    Stocks stocks;
    for (auto const& key : plan.keys)
        stocks.insert({key, 0});
    return measure(
        plan, [&](std::string const& key) { change(stocks, key); },
        [&] {
            std::uint64_t sum = 0;
            for (auto const& key : plan.keys)
                stocks.change(key, [&](Stock& stock) { sum += static_cast<std::uint64_t>(stock.quantity); });
            return sum;
        });
}

}  // namespace

double sharded_mutex(Plan const& plan)
{
    return run(plan, [](Stocks& stocks, std::string const& key) {
        stocks.change(key, [](Stock& stock) { ++stock.quantity; });
    });
}

double sharded_mutex_with_rollback(Plan const& plan)
{
    return run(plan, [](Stocks& stocks, std::string const& key) {
        stocks.change_or_roll_back(key, [](Stock& stock) { ++stock.quantity; });
    });
}
