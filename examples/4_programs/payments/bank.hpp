// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_BANK_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_BANK_HPP

// The business: accounts, and what a payment or a transfer comes to. Which store keeps the accounts is one
// file each: bank_in_url.cpp (memory and Redis) and bank_on_postgres.cpp.

#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/observer.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_context.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/describe.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace payments {

namespace il = interlock;
namespace asio = boost::asio;

struct Account {
    std::string id;
    std::int64_t balance{0};  // in cents
    std::int64_t entries{0};  // payments and transfers that have left it
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, balance, entries))

struct Payment {
    std::string account;
    std::int64_t amount{0};
};

struct Transfer {
    std::string from;
    std::string to;
    std::int64_t amount{0};
};

/// An answer as it is stored: whoever sends a request again gets these bytes again.
struct Reply {
    int status{0};
    std::string body;
};
BOOST_DESCRIBE_STRUCT(Reply, (), (status, body))

inline constexpr int created = 201;

// What is decided about a state. A refusal (402) changes nothing and is returned, not thrown: so it is stored
// under the request's key like any other answer, and comes again even when there is money by then.
Reply pay(Account& account, Payment const& payment);
Reply transfer(Account& from, Account& to, Transfer const& transfer);

/// The name of the last payment or transfer that left `account`.
std::string last_entry(Account const& account);

using Answered = il::Outcome<il::Answer<Reply>>;

/// The accounts, and requests that are executed once each. May be used by one thread.
class Bank {
public:
    virtual asio::awaitable<Answered> pay(il::IdempotentRequest request, Payment payment) = 0;
    virtual asio::awaitable<Answered> transfer(il::IdempotentRequest request, Transfer transfer) = 0;
    virtual asio::awaitable<il::Outcome<Account>> account(std::string id) = 0;

    Bank() = default;
    Bank(Bank const&) = delete;
    Bank& operator=(Bank const&) = delete;
    virtual ~Bank() = default;
};

/// Whether `store` ends with the process.
bool is_in_memory(std::string const& store);

/// The bank in the store of this URL. Opens the accounts of alice and bob where they are missing, which asks
/// the store.
std::unique_ptr<Bank> open_bank(std::string const& store, il::Observer& observer);
std::unique_ptr<Bank> bank_in_url(std::string const& store, il::Observer& observer);
std::unique_ptr<Bank> bank_on_postgres(std::string const& store, il::Observer& observer);

inline Account const first_accounts[] = {{"alice", 100'000, 0}, {"bob", 100'000, 0}};

/// No request takes longer.
inline il::CallOptions const patience{.deadline = std::chrono::seconds{3}};

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_BANK_HPP
