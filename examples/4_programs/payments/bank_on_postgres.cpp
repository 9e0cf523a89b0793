// SPDX-License-Identifier: BSL-1.0

// The bank in tables of its own. Key, payment, balance and answer are one transaction: after a crash all of
// them are there, or none.

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/schema.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>

#include <boost/asio/use_awaitable.hpp>

#include "bank.hpp"

#include <string_view>
#include <utility>

namespace payments {

namespace {

// Elsewhere a migration makes the tables.
constexpr std::string_view tables[] = {
    // Programs that start at once take turns: CREATE ... IF NOT EXISTS fails when it meets itself.
    "SELECT pg_advisory_xact_lock(4711)", "CREATE SCHEMA IF NOT EXISTS bank",
    "CREATE TABLE IF NOT EXISTS bank.accounts (id text PRIMARY KEY,"
    " balance bigint NOT NULL CHECK (balance >= 0), entries bigint NOT NULL, version bigint)",
    "CREATE TABLE IF NOT EXISTS bank.payments (id text PRIMARY KEY,"
    " account text NOT NULL REFERENCES bank.accounts, amount bigint NOT NULL CHECK (amount > 0),"
    " receiver text REFERENCES bank.accounts, at timestamptz NOT NULL DEFAULT now())"};

class BankOnPostgres final : public Bank {
public:
    // #region made
    BankOnPostgres(std::string const& url, il::Observer& observer)
        : pool_(url), service_(
                          Policy{il::PessimisticRowLock{}, Keys{pool_}, il::Duplicates::refuse}, accounts_,
                          {.observer = &observer})
    {
        // The schema first: for a role of the same name it comes into the search path, in which the library's
        // own tables are made and found. Made the other way round, the keys would be forgotten at the next
        // start.
        il::postgres::run_script(pool_, tables).value();
        il::postgres::create_schema(pool_).value();
        for (auto const& account : first_accounts)
            if (auto const made = accounts_.insert(account); !made && made.errc() != il::Errc::already_exists)
                made.failure().raise();
    }
    // #endregion made

    // #region pay
    asio::awaitable<Answered> pay(il::IdempotentRequest request, Payment payment) override
    {
        auto const operation = [payment](Account& account, Transaction& tx) -> asio::awaitable<Reply> {
            auto reply = payments::pay(account, payment);
            if (reply.status == created)
                co_await tx.async_exec(
                    "INSERT INTO bank.payments (id, account, amount) VALUES ($1, $2, $3)",
                    last_entry(account), payment.account, payment.amount, asio::use_awaitable);
            co_return reply;
        };
        co_return co_await service_.async_try_do_in_transaction(
            request, payment.account, operation, patience, asio::use_awaitable);
    }
    // #endregion pay

    asio::awaitable<Answered> transfer(il::IdempotentRequest request, Transfer transfer) override
    {
        auto const operation = [transfer](
                                   Account& from, Account& to, Transaction& tx) -> asio::awaitable<Reply> {
            auto reply = payments::transfer(from, to, transfer);
            if (reply.status == created)
                co_await tx.async_exec(
                    "INSERT INTO bank.payments (id, account, amount, receiver) VALUES ($1, $2, $3, $4)",
                    last_entry(from), transfer.from, transfer.amount, transfer.to, asio::use_awaitable);
            co_return reply;
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
    // #region members
    using Transaction = il::postgres::AsyncTransaction;
    using Keys = il::postgres::TransactionalIdempotencyStore;
    using Policy = il::IdempotencyInTransaction<il::PessimisticRowLock, Keys>;
    using Accounts = il::postgres::StateRepository<Account>;

    il::postgres::Pool pool_;
    Accounts accounts_{pool_, {.table = "bank.accounts", .key = "id"}};
    il::TransactionService<Account, Policy, Accounts> service_;
    // #endregion members
};

}  // namespace

std::unique_ptr<Bank> bank_on_postgres(std::string const& store, il::Observer& observer)
{
    return std::make_unique<BankOnPostgres>(store, observer);
}

}  // namespace payments
