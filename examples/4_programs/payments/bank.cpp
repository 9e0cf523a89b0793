// SPDX-License-Identifier: BSL-1.0

#include "bank.hpp"

#include <boost/json/src.hpp>  // Boost.JSON is compiled here, once
#include <fmt/format.h>

#include <stdexcept>

namespace payments {

namespace json = boost::json;

namespace {

Reply reply(int status, json::object const& body)
{
    return {status, json::serialize(body)};
}

Reply refused(std::string const& detail)
{
    return reply(
        402, {{"type", "about:blank"},
              {"title", "Payment Required"},
              {"status", 402},
              {"detail", detail},
              {"code", "insufficient_funds"}});
}

}  // namespace

std::string last_entry(Account const& account)
{
    return fmt::format("{}-{}", account.id, account.entries);
}

Reply pay(Account& account, Payment const& payment)
{
    if (account.balance < payment.amount)
        return refused(fmt::format("{} has {} cents.", account.id, account.balance));
    account.balance -= payment.amount;
    ++account.entries;
    return reply(
        created, {{"id", last_entry(account)},
                  {"account", account.id},
                  {"amount", payment.amount},
                  {"balance", account.balance}});
}

Reply transfer(Account& from, Account& to, Transfer const& transfer)
{
    if (from.balance < transfer.amount)
        return refused(fmt::format("{} has {} cents.", from.id, from.balance));
    from.balance -= transfer.amount;
    to.balance += transfer.amount;
    ++from.entries;
    return reply(
        created, {{"id", last_entry(from)},
                  {"from", from.id},
                  {"to", to.id},
                  {"amount", transfer.amount},
                  {"balance", from.balance}});
}

bool is_in_memory(std::string const& store)
{
    return store.starts_with("memory:");
}

std::unique_ptr<Bank> open_bank(std::string const& store, il::Observer& observer)
{
    if (store.starts_with("postgres"))
#ifdef PAYMENTS_POSTGRES
        return bank_on_postgres(store, observer);
#else
        throw std::invalid_argument("this program was built without the PostgreSQL store");
#endif
    return bank_in_url(store, observer);
}

}  // namespace payments
