// SPDX-License-Identifier: BSL-1.0

// The bank in a store that is chosen when the program starts. The claim of a key is a step of its own here,
// before the operation: it has a lease, and whoever comes after a killed owner takes it over.

#include <interlock/interlock.hpp>
#ifdef PAYMENTS_REDIS
#include <interlock/backends/redis/backend.hpp>
#endif

#include <boost/asio/use_awaitable.hpp>

#include "bank.hpp"

#include <utility>

namespace payments {

namespace {

using namespace std::chrono_literals;

template <class Open>
auto open_any(std::string const& url, Open open)
{
#ifdef PAYMENTS_REDIS
    return open(url, il::memory::backend, il::redis::backend, il::redis::unix_backend);
#else
    return open(url, il::memory::backend);
#endif
}

class BankInUrl final : public Bank {
public:
    BankInUrl(
        il::StateRepository<Account> const& accounts, il::AnyIdempotencyStore const& keys,
        il::Observer& observer)
        : accounts_(accounts),
          service_(
              il::IdempotencyKeys{il::AnyPolicy{il::OptimisticVersioning{}}, keys, {.lease = 5s}}, accounts,
              {.observer = &observer})
    {
        for (auto const& account : first_accounts)
            if (auto const made = accounts_.insert(account); !made && made.errc() != il::Errc::already_exists)
                made.failure().raise();
    }

    asio::awaitable<Answered> pay(il::IdempotentRequest request, Payment payment) override
    {
        auto const operation = [payment](Account& account) { return payments::pay(account, payment); };
        co_return co_await service_.async_try_do_in_transaction(
            request, payment.account, operation, patience, asio::use_awaitable);
    }

    asio::awaitable<Answered> transfer(il::IdempotentRequest request, Transfer transfer) override
    {
        auto const operation = [transfer](Account& from, Account& to) {
            return payments::transfer(from, to, transfer);
        };
        auto const both = il::keys(transfer.from, transfer.to);
        co_return co_await service_.async_try_do_in_transaction(
            request, both, operation, patience, asio::use_awaitable);
    }

    asio::awaitable<il::Outcome<Account>> account(std::string id) override
    {
        auto loaded = co_await accounts_.async_load(id, patience.deadline, asio::use_awaitable);
        if (!loaded)
            co_return std::move(loaded).failure();
        co_return loaded->value;
    }

private:
    il::StateRepository<Account> accounts_;
    il::IdempotentTransactionService<Account> service_;
};

}  // namespace

std::unique_ptr<Bank> bank_in_url(std::string const& store, il::Observer& observer)
{
    auto const accounts = open_any(
        store, [](auto const& url, auto const&... stores) { return il::open<Account>(url, stores...); });
    auto const keys = open_any(store, [](auto const& url, auto const&... stores) {
        return il::open_idempotency_store(url, stores...);
    });
    return std::make_unique<BankInUrl>(accounts, keys, observer);
}

}  // namespace payments
