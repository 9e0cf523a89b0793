// SPDX-License-Identifier: BSL-1.0

// What becomes of leases that are renewed together when the call for all of them is refused.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/contracts/joint_repository.hpp>
#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/store.hpp>

#include "support/catch.hpp"
#include "support/states.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace renewals_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::Account;
using interlock_test::Stock;

/// Of states that nobody commits.
struct Apart {
    template <class R>
    static std::string place_in_order(R const& repository)
    {
        return std::to_string(sizeof(repository));
    }
    template <class... R>
    static std::optional<Failure> refusal(R const&...)
    {
        return std::nullopt;
    }
    template <class... R>
    static Outcome<CommitResult> commit(JointCommit<R...> const&, Deadline)
    {
        return Errc::unavailable;
    }
};

/// Answers for the first of several leases, and is refused then.
template <class T>
struct Refused : memory::StateRepository<T> {
    using joint_store = Apart;
    using memory::StateRepository<T>::carry_out;

    std::string reason;

    Outcome<void> carry_out(verb::RenewAll const& all, Deadline) const
    {
        all.renewals[0].granted = std::chrono::nanoseconds{all.ttl.value()};
        return Failure{Errc::misconfigured, reason};
    }
};

TEST_CASE("a call for several leases that fails as a whole says of each why", "[core][renewals]")
{
    Refused<Stock> const stock{memory::StateRepository<Stock>{}, "no right"};
    Refused<Account> const accounts{memory::StateRepository<Account>{}, "no such user"};
    JointRepository const both{stock, accounts};
    auto const named = both.call_target(
        keys(in(stock, "s1"), in(accounts, 1), in(stock, "s2"), in(accounts, 2), in(accounts, 3)));
    std::vector<Key> all{named.keys.begin(), named.keys.end()};
    all.emplace_back("of no repository");
    std::vector<Renewal> renewals;
    for (auto const& key : all)
        renewals.push_back({&key, OwnerToken{{1, 2}}, 1h});  // what an earlier call said counts no more
    CHECK(both.carry_out(verb::RenewAll{renewals, Ttl{10s}}, Deadline{1s}));
    for (std::size_t i = 0; i < 2; ++i)
        CHECK(renewals[i].granted.value() == 10s);
    for (std::size_t i = 2; i < 5; ++i) {
        CHECK(renewals[i].granted.errc() == Errc::misconfigured);
        CHECK(renewals[i].granted.detail() == (i == 2 ? "no right" : "no such user"));
    }
    CHECK(renewals[5].granted.errc() == Errc::misconfigured);
    CHECK(renewals[5].granted.detail().find("not joined") != std::string::npos);
}

}  // namespace renewals_test
