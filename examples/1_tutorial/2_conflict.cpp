// SPDX-License-Identifier: BSL-1.0

// Shows what happens when several change one state at once: an operation that lost the race is run again on
// what the winner left; a person who lost it is told so and decides himself.
// Needs: nothing.
// Run with: 2_conflict

#include <interlock/interlock.hpp>

#include <boost/describe.hpp>
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace il = interlock;

struct Page {
    std::string name;
    std::string text;
    int views = 0;
};
BOOST_DESCRIBE_STRUCT(Page, (), (name, text, views))

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Page> pages;
    il::TransactionService service{il::OptimisticVersioning{}, pages};
    pages.insert({"home", "Welcome", 0}).value();

    // Programs that compute: the library runs the loser's operation again, so no view is lost. An operation
    // that may run twice must not do anything outside the state that it is given.
    std::atomic<int> runs{0};
    std::vector<std::future<void>> readers;
    for (int i = 0; i < 4; ++i)
        readers.push_back(std::async(std::launch::async, [&] {
            for (int n = 0; n < 10000; ++n)
                service.do_in_transaction("home", [&](Page& page) {
                    ++runs;
                    ++page.views;
                });
        }));
    for (auto& reader : readers)
        reader.get();
    auto const seen = pages.load("home").value();
    fmt::print(
        "{} views, {} of them counted again after a conflict\n", seen.value.views, runs - seen.value.views);
    check(seen.value.views == 40000 && runs >= 40000);

    // People who edit: both have the same version on their screens. The second one to save is told, nothing
    // is tried again.
    auto anns = pages.load("home").value();
    auto bobs = pages.load("home").value();
    anns.value.text = "Welcome to the shop";
    bobs.value.text = "Wellcome";

    check(il::save_if(pages, anns.version, anns.value).has_value());
    auto const refused = il::save_if(pages, bobs.version, bobs.value);
    check(refused.errc() == il::Errc::version_conflict);

    auto const now = pages.load("home").value();
    fmt::print("bob has to look again, it reads '{}' now\n", now.value.text);
    check(now.value.text == "Welcome to the shop" && now.version == anns.version + 1);
}
