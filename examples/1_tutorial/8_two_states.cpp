// SPDX-License-Identifier: BSL-1.0

// Shows operations on several states at once: all of them change or none does, and no deadlock comes of the
// order in which they are named.
// Needs: nothing.
// Run with: 8_two_states

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <future>
#include <span>
#include <string>
#include <vector>

namespace il = interlock;

struct Account {
    std::string owner;
    int balance = 0;
};
BOOST_DESCRIBE_STRUCT(Account, (), (owner, balance))

struct Document {
    std::string place;
    std::string text;
    int revision = 0;
};
BOOST_DESCRIBE_STRUCT(Document, (), (place, text, revision))

struct InsufficientFunds {};
struct SoldOut {};

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

template <class Policy>
void transfer_both_ways(Policy policy)
{
    il::memory::StateRepository<Account> accounts;
    accounts.insert({"ann", 500}).value();
    accounts.insert({"bob", 500}).value();
    il::TransactionService service{policy, accounts};

    auto const transfer = [&](std::string const& from, std::string const& to, int amount) {
        service.do_in_transaction(il::keys(from, to), [&](Account& a, Account& b) {
            a.balance -= amount;
            b.balance += amount;
            if (a.balance < 0)
                throw InsufficientFunds{};  // both are left as they were
        });
    };
    auto there = std::async(std::launch::async, [&] {
        for (int i = 0; i < 400; ++i)
            transfer("ann", "bob", 1);
    });
    auto back = std::async(std::launch::async, [&] {
        for (int i = 0; i < 300; ++i)
            transfer("bob", "ann", 1);
    });
    there.get();
    back.get();
    try {
        transfer("ann", "bob", 401);
        check(false);
    } catch (InsufficientFunds const&) {
    }

    auto const ann = accounts.load("ann").value().value.balance;
    auto const bob = accounts.load("bob").value().value.balance;
    fmt::print("{}: ann {}, bob {}\n", Policy::name, ann, bob);
    check(ann == 400 && bob == 600);
}

/// A document and its replica: nobody ever sees them differ.
void replicate()
{
    il::memory::StateRepository<Document> documents;
    documents.insert({"here", "", 0}).value();
    documents.insert({"there", "", 0}).value();
    il::TransactionService service{il::OptimisticVersioning{}, documents};

    auto writer = std::async(std::launch::async, [&] {
        for (int i = 1; i <= 500; ++i)
            service.do_in_transaction(il::keys("here", "there"), [&](Document& original, Document& replica) {
                original.text = fmt::format("text {}", i);
                ++original.revision;
                replica.text = original.text;
                replica.revision = original.revision;
            });
    });
    int seen = 0;
    do {
        // Changes nothing, but is committed all the same: what it saw was one moment's state of both.
        seen =
            service.do_in_transaction(il::keys("there", "here"), [](Document& replica, Document& original) {
                return replica.text == original.text ? replica.revision : -1;
            });
        check(seen >= 0);
    } while (seen < 500);
    writer.get();
}

struct Stock {
    std::string sku;
    int quantity = 0;
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

/// How many lines an order has is known at run time only.
void order_as_many_as_you_like()
{
    il::memory::StateRepository<Stock> stock;
    for (auto const* sku : {"apple", "bread", "cheese"})
        stock.insert({sku, 1}).value();
    il::TransactionService service{il::PessimisticRowLock{}, stock};

    auto const order = [&](std::vector<std::string> const& lines) {
        service.do_in_transaction(lines, [](std::span<Stock> stocks) {
            for (Stock& s : stocks)
                if (--s.quantity < 0)
                    throw SoldOut{};  // all are left as they were
        });
    };
    order({"cheese", "apple"});
    try {
        order({"bread", "cheese"});
        check(false);
    } catch (SoldOut const&) {
    }
    check(stock.load("cheese").value().value.quantity == 0);
    check(stock.load("bread").value().value.quantity == 1);
}

int main()
{
    transfer_both_ways(il::OptimisticVersioning{});
    transfer_both_ways(il::PessimisticRowLock{});
    transfer_both_ways(il::SetNxLock{});
    replicate();
    order_as_many_as_you_like();
}
