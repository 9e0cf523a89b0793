// SPDX-License-Identifier: BSL-1.0

// Shows what becomes of a key that has no value yet: an error, or, if the policy is asked to, a fresh state
// that is inserted when the operation is committed.
// Needs: nothing.
// Run with: create_missing

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <future>
#include <stdexcept>
#include <string>
#include <vector>

namespace il = interlock;

struct Visitors {
    std::string page;
    int count = 0;
};
BOOST_DESCRIBE_STRUCT(Visitors, (), (page, count))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Visitors> visitors;
    auto const visit = [](Visitors& v) { return ++v.count; };

    il::TransactionService strict{il::OptimisticVersioning{}, visitors};
    check(strict.try_do_in_transaction("home", visit).errc() == il::Errc::not_found);

    // Several come first at once: one inserts, the others find what he inserted.
    il::TransactionService service{il::OptimisticVersioning{.missing = il::Missing::create}, visitors};
    std::vector<std::future<int>> first;
    for (int i = 0; i < 8; ++i)
        first.push_back(
            std::async(std::launch::async, [&] { return service.do_in_transaction("home", visit); }));
    for (auto& one : first)
        check(one.get() <= 8);
    fmt::print("{} visitors\n", visitors.load("home").value().value.count);
    check(visitors.load("home").value().value.count == 8);

    // Named by a state instead of a key, that state is the one to start from.
    check(service.do_in_transaction(Visitors{"old page", 1000}, visit) == 1001);
    check(service.do_in_transaction(Visitors{"old page", 1000}, visit) == 1002);  // it exists by now

    // An operation that throws creates nothing.
    try {
        service.do_in_transaction("nowhere", [](Visitors&) { throw std::runtime_error("no such page"); });
        check(false);
    } catch (std::runtime_error const&) {
    }
    check(visitors.load("nowhere").errc() == il::Errc::not_found);
}
