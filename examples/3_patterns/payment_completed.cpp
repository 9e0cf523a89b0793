// SPDX-License-Identifier: BSL-1.0

// Shows: a handler of a payment provider's messages, PAYMENT_COMPLETED. Some come twice, one before its
// order is known, one after its order was cancelled, one for an order that there never is. Each has its
// effect once.
// Needs: nothing.
// Run with: payment_completed

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>
#include <interlock/patterns/inbox.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <deque>
#include <stdexcept>
#include <string>

namespace il = interlock;

enum class Status { placed, paid, cancelled, refund_due };

struct Order {
    std::string id;
    Status status{Status::placed};
    int amount{0};
};
BOOST_DESCRIBE_STRUCT(Order, (), (id, status, amount))

/// The message, as the provider's client has parsed it. Each delivery of it has the same id.
struct PaymentCompleted {
    std::string id, order;
    int amount{0}, attempts{0};
};

/// What we say ourselves, once for each order that was paid.
struct OrderPaid {
    std::string order;
    static constexpr il::EventType event{"order.paid", 1};
};
BOOST_DESCRIBE_STRUCT(OrderPaid, (), (order))

// #region handler
/// The order's change, the event, and the record that the message was handled are one commit. The inbox sees
/// to it that each message has its effect once; the order itself stands messages in whatever order.
template <class Orders>
il::Outcome<il::Handled> on_payment_completed(il::Inbox<Orders> const& inbox, PaymentCompleted const& payment)
{
    return inbox.handle(il::Message{payment.id}, payment.order, [&](Order& order, il::Recorder& record) {
        bool const waits = order.status == Status::placed && order.amount == payment.amount;
        if (!waits && order.status != Status::cancelled)
            throw std::invalid_argument("the order does not wait for this payment");
        order.status = waits ? Status::paid : Status::refund_due;
        if (waits)
            record(OrderPaid{order.id});
    });
}
// #endregion handler

int main()
{
    il::memory::EventRepository const events;
    il::memory::StateRepository<Order> const orders{{.events = events}};
    il::Inbox const inbox{il::TransactionService{il::OptimisticVersioning{}, orders}, "payments"};
    orders.insert({"order-1", Status::placed, 10}).value();
    orders.insert({"order-3", Status::cancelled, 30}).value();

    std::deque<PaymentCompleted> broker{
        {"m-2", "order-2", 20}, {"m-1", "order-1", 10}, {"m-1", "order-1", 10}, {"m-3", "order-3", 30},
        {"m-4", "order-1", 99}, {"m-5", "order-5", 50}, {"m-2", "order-2", 20}, {"m-3", "order-3", 30}};
    std::string parked, became;  // what is parked is for a person to look at
    for (int delivered = 1; !broker.empty(); ++delivered) {
        auto message = broker.front();
        broker.pop_front();
        try {
            auto const handled = on_payment_completed(inbox, message);
            if (handled)
                became = handled.replayed() ? "a duplicate" : "processed";
            else if (became = fmt::format("{}", handled.errc()); ++message.attempts < 3)
                broker.push_back(message);  // it was not acknowledged, so it is delivered again, later
            else
                parked += message.id + ' ';
        } catch (std::invalid_argument const& error) {  // trying again would not help
            became = error.what();
            parked += message.id + ' ';
        }
        fmt::print("{} for {}: {}\n", message.id, message.order, became);
        if (delivered == 4)  // only now does the shop hear of the order that m-2 pays for
            orders.insert({"order-2", Status::placed, 20}).value();
    }
    fmt::print("parked: {}\n", parked);
    auto const said = events.read(0, 0).value().events;
    for (auto const& event : said)
        fmt::print("{} of {}, caused by {}\n", event.type, event.stream.bytes(), event.because.cause);
    auto const third = orders.load("order-3").value().value.status;
    return said.size() == 2 && third == Status::refund_due && parked == "m-4 m-5 " ? 0 : 1;
}
