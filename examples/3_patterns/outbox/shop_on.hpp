// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_OUTBOX_SHOP_ON_HPP
#define INTERLOCK_EXAMPLES_OUTBOX_SHOP_ON_HPP

// The library at work. Nothing here knows which store it is.

#include <interlock/core/format.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/patterns/inbox.hpp>
#include <interlock/patterns/match.hpp>
#include <interlock/patterns/subscription.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <fmt/format.h>

#include "shop.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace outbox {

namespace il = interlock;

constexpr std::size_t skus = 10;
/// So long the others wait for what a process held that was killed.
constexpr std::chrono::seconds lease{2};
inline il::CallOptions const patience{.deadline = std::chrono::seconds{30}};

inline std::string order_of(std::size_t sale)
{
    return fmt::format("order-{}", sale);
}
inline std::string sku_of(std::size_t sale)
{
    return fmt::format("sku-{}", sale % skus);
}

/// `Store` has an event repository `events`, and state repositories `stock`, which records into it,
/// `parcels` and `cursors`.
template <class Store>
class ShopOn final : public Shop {
public:
    ShopOn(Store store, bool careless) : store_(std::move(store)), careless_(careless) {}

    void open(std::size_t sales) override
    {
        for (std::size_t i = 0; i < skus; ++i) {
            auto const quantity = sales / skus + (i < sales % skus ? 1 : 0);
            store_.stock.insert(Stock{sku_of(i), static_cast<std::int64_t>(quantity)}).value();
        }
    }

    // #region sell
    bool sell(std::size_t sale) const override
    {
        auto const order = order_of(sale);
        // The stock and the event are one commit. Asked again for the same order, nothing is sold and nothing
        // is said again.
        auto const sell_one = [&order](Stock& stock, il::Recorder& record) {
            if (stock.quantity == 0)
                throw std::runtime_error("sold out");
            --stock.quantity;
            record(Sold{order, stock.sku});
        };
        auto sold = sales_.try_do_in_transaction(il::OperationId{order}, sku_of(sale), sell_one, patience);
        for (int again = 0; !sold && again < 5; ++again)
            sold = sales_.try_do_in_transaction(il::OperationId{order}, sku_of(sale), sell_one, patience);
        sold.value();
        return !sold.replayed();
    }
    // #endregion sell

    // #region ship
    void ship(std::stop_token stop, std::function<void()> const& shipped) const override
    {
        auto const send = [](Parcel& parcel) { ++parcel.sent; };
        auto const handler = [&](il::Event const& event) {
            return il::match(
                event,
                [&](Sold const& sold) -> il::Outcome<void> {
                    if (careless_) {
                        parcels_.do_in_transaction(sold.order, send, patience);
                        shipped();
                        return il::success();
                    }
                    // After a crash an event may come again; the inbox lets each have its effect once.
                    auto handled = inbox_.handle(event, sold.order, send, patience);
                    if (!handled)
                        return std::move(handled).failure();
                    if (*handled == il::Handled::processed)
                        shipped();
                    return il::success();
                },
                il::otherwise::park);
        };
        shipping_.run(handler, std::move(stop)).value();
    }
    // #endregion ship

    bool all_shipped() const override { return shipping_.lag().value() == 0; }

    Books books(std::size_t sales) const override
    {
        Books books;
        auto const events = count_events(sales);
        std::int64_t missing = static_cast<std::int64_t>(sales);  // from the stock
        for (std::size_t i = 0; i < skus; ++i)
            missing -= store_.stock.load(sku_of(i)).value().value.quantity;
        for (std::size_t sale = 0; sale < sales; ++sale) {
            auto const parcel = store_.parcels.load(order_of(sale));
            if (!parcel && parcel.errc() != il::Errc::not_found)
                static_cast<void>(parcel.value());
            auto const sent = parcel ? static_cast<std::size_t>(parcel->value.sent) : 0;
            missing -= static_cast<std::int64_t>(events[sale]);
            books.sold += events[sale] > 0 ? 1 : 0;
            books.shipped += sent > 0 ? 1 : 0;
            books.doubled += std::max<std::size_t>(events[sale], 1) + std::max<std::size_t>(sent, 1) - 2;
            books.lost += (events[sale] == 0 || sent == 0) ? 1 : 0;
        }
        books.lost += static_cast<std::size_t>(missing < 0 ? -missing : missing);
        for (auto const& parked : shipping_.parked().value())
            books.parked.push_back(fmt::format("{}: {}", parked.stream, parked.error));
        return books;
    }

private:
    /// How many events each sale has.
    std::vector<std::size_t> count_events(std::size_t sales) const
    {
        std::vector<std::size_t> counts(sales);
        std::unordered_map<std::string, std::size_t> sale_of;
        for (std::size_t sale = 0; sale < sales; ++sale)
            sale_of.emplace(order_of(sale), sale);
        for (unsigned partition = 0; partition < store_.events.partitions(); ++partition)
            for (auto page = store_.events.read(partition, 0, 1000).value(); !page.events.empty();
                 page = store_.events.read(partition, page.next, 1000).value())
                for (auto const& event : page.events)
                    ++counts.at(sale_of.at(event.template as<Sold>().value().order));
        return counts;
    }

    template <class States>
    using Transactions =
        il::TransactionService<typename States::value_type, il::OptimisticVersioning, States>;
    using Parcels = Transactions<decltype(Store::parcels)>;

    Store store_;
    bool careless_;
    Transactions<decltype(Store::stock)> sales_{il::OptimisticVersioning{}, store_.stock};
    Parcels parcels_{il::OptimisticVersioning{.missing = il::Missing::create}, store_.parcels};
    il::Inbox<Parcels> inbox_{parcels_, "shipping"};
    il::Subscription<decltype(Store::events), decltype(Store::cursors)> shipping_{
        store_.events, store_.cursors, "shipping", {.ttl = il::Ttl{lease}}};
};

}  // namespace outbox

#endif  // INTERLOCK_EXAMPLES_OUTBOX_SHOP_ON_HPP
