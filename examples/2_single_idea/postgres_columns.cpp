// SPDX-License-Identifier: BSL-1.0

// Shows a table that has other names than the program's struct, and amounts of money in a `numeric` column;
// and one repository type for that table and for every other URL.
// Needs: a PostgreSQL server, 15 or later, whose URL is the argument; without one it says so and does
// nothing. It makes its table in a schema, interlock_columns.
// Run with: postgres_columns postgresql://localhost/test

#include <interlock/backends/postgres/column_traits.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace il = interlock;

/// An amount, in cents.
struct Money {
    std::int64_t cents{0};

    std::string str() const  // "-12.50"
    {
        auto const amount = std::abs(cents);
        return fmt::format("{}{}.{:02}", cents < 0 ? "-" : "", amount / 100, amount % 100);
    }
    static std::optional<Money> parse(std::string_view text)
    {
        std::string digits{text};
        if (digits.size() < 4 || digits[digits.size() - 3] != '.')
            return std::nullopt;
        digits.erase(digits.size() - 3, 1);
        Money read;
        auto const* const end = digits.data() + digits.size();
        auto const done = std::from_chars(digits.data(), end, read.cents);
        return done.ec == std::errc{} && done.ptr == end ? std::optional{read} : std::nullopt;
    }
    friend bool operator==(Money, Money) = default;
};

// #region money
template <>
struct interlock::postgres::ColumnTraits<Money> {
    static std::string to_text(Money const& m) { return m.str(); }  // "12.50"
    static std::optional<Money> from_text(std::string_view text) { return Money::parse(text); }
};
// #endregion money

struct Account {
    std::string number;
    Money balance{};
};
BOOST_DESCRIBE_STRUCT(Account, (), (number, balance))

constexpr std::string_view ddl[] = {
    "DROP SCHEMA IF EXISTS interlock_columns CASCADE", "CREATE SCHEMA interlock_columns",
    "CREATE TABLE interlock_columns.acct (acct_no text PRIMARY KEY, bal numeric(12, 2) NOT NULL,"
    " row_ver bigint NOT NULL DEFAULT 0)",
    "INSERT INTO interlock_columns.acct VALUES ('alice', 12.50)"};

// #region open_accounts
il::StateRepository<Account> open_accounts(std::string_view url)
{
    if (!url.starts_with("postgres"))
        return il::open<Account>(url, il::memory::backend);
    il::postgres::Pool const pool{url};
    return il::postgres::StateRepository<Account>{
        pool,
        {.table = "interlock_columns.acct",
         .key = "acct_no",
         .version = "row_ver",
         .columns = {{"number", "acct_no"}, {"balance", "bal"}}}};
}
// #endregion open_accounts

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print("postgres_columns: name a server, like postgresql://localhost/test\n");
        return 77;
    }
    il::postgres::run_script(il::postgres::Pool{argv[1]}, ddl).value();

    auto const accounts = open_accounts(argv[1]);
    il::TransactionService<Account> const bank{il::OptimisticVersioning{}, accounts};
    // Nobody has changed this row yet: its version stands near the end of the numbers, and the next one is 1.
    check(accounts.load("alice").value().version == il::last_version - 1);
    bank.do_in_transaction("alice", [](Account& a) { a.balance.cents -= 1300; });
    auto const left = accounts.load("alice").value();
    fmt::print("{} has {}, version {}\n", left.value.number, left.value.balance.str(), left.version);
    check(left.value.balance == Money{-50} && left.version == 1);
    check(open_accounts("memory:").load("alice").errc() == il::Errc::not_found);
}
