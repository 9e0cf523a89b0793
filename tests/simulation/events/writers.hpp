// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_EVENTS_WRITERS_HPP
#define INTERLOCK_TESTS_SIMULATION_EVENTS_WRITERS_HPP

// Those who sell, and record what they have sold: each order under an operation id, until its answer is
// known.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "simulation/events/world.hpp"

#include <stdexcept>

namespace simulated_events {

/// What somebody wants to buy. Whoever has not heard that it was sold asks again.
struct Order {
    std::string id;
    std::string sku;
    bool done{false};
};

struct ChangedMind : std::runtime_error {
    ChangedMind() : std::runtime_error("the operation threw") {}
};

/// A process that carries orders out. It makes the calls of several clients side by side, so that they share
/// commits.
class Writer {
public:
    Writer(World& world, Host host, bool calm)
        : process_(world, host, calm),
          optimistic_(il::OptimisticVersioning{.missing = il::Missing::create}, process_.stocks()),
          leasing_(lease(), process_.stocks()), leases_(world.random().percent(40))
    {}

    Process& process() noexcept { return process_; }

    /// Carries `orders` out, one after the other, but those that are done.
    Client run(std::vector<Order*> orders, bool patient)
    {
        auto& world = process_.world();
        auto& random = world.random();
        for (auto* const order : orders) {
            co_await world.sleep(process_.host(), random.time(0ms, patient ? 60ms : 30ms));
            for (int i = 0; !order->done && (patient || i < 4); ++i) {
                if (leases_)
                    co_await sell(leasing_, *order);
                else
                    co_await sell(optimistic_, *order);
                if (!order->done)
                    co_await world.sleep(process_.host(), random.time(0ms, 20ms));
            }
        }
    }

private:
    template <class Policy>
    using Service = il::TransactionService<Stock, Policy, Repository<Stock>>;

    static il::SetNxLock lease()
    {
        il::SetNxLock policy{.missing = il::Missing::create};
        policy.lock.ttl = ttl;
        return policy;
    }

    template <class S>
    Client sell(S const& service, Order& order)
    {
        auto& world = process_.world();
        if (world.planted() == Planted::two_steps) {
            co_await sell_in_two_steps(service, order);
            co_return;
        }
        bool const throws = !world.calm() && world.random().percent(10);
        auto const change = [&order, throws](Stock& stock, il::Recorder& record) {
            stock.sku = order.sku;
            record(Sold{order.id, ++stock.sold});
            if (throws)
                throw ChangedMind{};
        };
        il::CallOptions const options{.deadline = world.random().time(5ms, 300ms)};
        il::OperationId const id{order.id};
        try {
            auto running =
                service.async_try_do_in_transaction(id, order.sku, change, options, asio::use_awaitable);
            auto const ended = co_await std::move(running);
            world.tell("order", order.id, "of", order.sku, il::name_of(ended.errc()), ended.detail());
            world.coverage().note(
                !ended             ? "an order failed"
                : ended.replayed() ? "an order was known"
                                   : "an order was carried out");
            order.done = ended.has_value();
        } catch (ChangedMind const&) {
            world.coverage().note("an order threw");
        }
    }

    /// As a program without a recorder does it.
    template <class S>
    Client sell_in_two_steps(S const& service, Order& order)
    {
        auto const change = [&order](Stock& stock) {
            stock.sku = order.sku;
            return ++stock.sold;
        };
        il::CallOptions const options{.deadline = 300ms};
        il::OperationId const id{order.id};
        auto running =
            service.async_try_do_in_transaction(id, order.sku, change, options, asio::use_awaitable);
        auto const ended = co_await std::move(running);
        if (!ended)
            co_return;
        std::vector<il::NewEvent> const events{il::new_event(Sold{order.id, *ended})};
        order.done =
            process_.events().append(id, il::Key{order.sku}, il::Expected::any(), events).has_value();
    }

    Process process_;
    Service<il::OptimisticVersioning> optimistic_;
    Service<il::SetNxLock> leasing_;
    bool leases_;
};

}  // namespace simulated_events

#endif  // INTERLOCK_TESTS_SIMULATION_EVENTS_WRITERS_HPP
