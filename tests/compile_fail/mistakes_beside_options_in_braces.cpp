// expect: name the state first
// expect: write an operation that takes what the policy offers
// expect: take the state by reference
// expect: wrap the policy, since a request needs an idempotent one
// expect: return a value: what a reference refers to would be gone
// expect: pass the operation id or the request first
// expect: call async_try_do_in_transaction, or return a type with a default
// SPDX-License-Identifier: BSL-1.0

// Options in braces hide no other mistake of the call.

#include <interlock/interlock.hpp>

#include <boost/asio/detached.hpp>
#include <boost/describe/class.hpp>

#include <chrono>
#include <string>

namespace il = interlock;
using namespace std::chrono_literals;

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct NoDefault {
    explicit NoDefault(int) {}
};

void use(
    il::TransactionService<Stock, il::OptimisticVersioning, il::memory::StateRepository<Stock>> const&
        service,
    il::IdempotentRequest const& request)
{
    il::OperationId const id{"id"};
    auto const take = [](Stock& s) { return --s.quantity; };
    service.do_in_transaction(7, take, {.deadline = 5s});
    service.do_in_transaction(id, "x", [](Stock&, il::Lock<Stock>&) {}, {.deadline = 5s});
    service.try_do_in_transaction("x", [](Stock) {}, {.deadline = 5s});
    service.do_in_transaction(request, "x", take, {.deadline = 5s});
    service.do_in_transaction("x", [](Stock& s) -> int& { return s.quantity; }, {.deadline = 5s});
    service.do_in_transaction("x", id, take, {.deadline = 5s});
    service.async_do_in_transaction(
        "x", [](Stock&) { return NoDefault{1}; }, {.deadline = 5s}, boost::asio::detached);
}
