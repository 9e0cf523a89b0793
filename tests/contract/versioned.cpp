// SPDX-License-Identifier: BSL-1.0

// The laws of `Repository` and `VersionedRepository` in core/contracts/store.hpp, on every backend, and on
// the store of examples/custom_backend.cpp, which models nothing else.

#include <interlock/core/contracts/store.hpp>
#include <interlock/policies/optimistic_versioning.hpp>

#include <boost/asio/use_future.hpp>

#include "contract/backends.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// The example as it is, as a library.
#ifdef INTERLOCK_TESTS_CONTRACT_CUSTOM_BACKEND
#define main custom_backend_main
int custom_backend_main();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"  // its main, under another name, which nobody calls
#include "../examples/custom_backend.cpp"
#pragma GCC diagnostic pop
#undef main
#endif

namespace contract {
namespace {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::run_threads;

#ifdef INTERLOCK_TESTS_CONTRACT_CUSTOM_BACKEND
/// The store of examples/custom_backend.cpp in a folder of its own.
struct Files {
    Files() { std::filesystem::create_directories(folder); }
    Files(Files const&) = delete;
    Files& operator=(Files const&) = delete;
    ~Files() { std::filesystem::remove_all(folder); }
    auto repository() const { return store; }
    auto other() const { return store; }

    std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("contract-" + std::to_string(SystemRuntime::random_bits()));
    FileRepository<Stock> store{folder};
};
using VersionedBackends =
    decltype(std::tuple_cat(std::declval<Backends>(), std::declval<std::tuple<Files>>()));
#else
using VersionedBackends = Backends;
#endif

// ---- Repository ---------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("handles of one store have one identity", "[contract][repository]", VersionedBackends)
{
    TestType const backend;
    TestType const another;
    CHECK(backend.repository().identity() == backend.other().identity());
    CHECK(backend.repository().identity() != another.repository().identity());
}

// ---- VersionedRepository ------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "of several writers that name one version exactly one succeeds", "[contract][versioned]",
    VersionedBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    static_assert(VersionedRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const x = key("x");
    auto version = repository.insert(x, Stock{"x", 0}, soon).value();
    for (int round = 0; round < 10; ++round) {
        std::atomic<int> won{0};
        std::atomic<int> conflicts{0};
        run_threads(4, [&](std::size_t i) {
            auto const handle = i % 2 == 0 ? backend.repository() : backend.other();
            auto const written = handle.compare_and_set(x, version, Stock{"x", static_cast<int>(i)}, soon);
            won += written ? 1 : 0;
            conflicts += written.errc() == Errc::version_conflict ? 1 : 0;
        });
        CHECK(won == 1);
        CHECK(conflicts == 3);
        version = repository.load(x, soon).value().version;
    }
    std::atomic<int> inserted{0};
    run_threads(
        4, [&](std::size_t) { inserted += repository.insert(key("new"), Stock{"new", 0}, soon) ? 1 : 0; });
    CHECK(inserted == 1);
}

TEMPLATE_LIST_TEST_CASE(
    "a version is never used again and a refused write changes nothing", "[contract][versioned]",
    VersionedBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const x = key("x");
    CHECK(repository.load(x, soon).errc() == Errc::not_found);
    CHECK(repository.compare_and_set(x, 1, Stock{"x", 1}, soon).errc() == Errc::not_found);
    CHECK(repository.erase(x, 1, soon).errc() == Errc::not_found);
    Version highest = no_version;
    for (int i = 0; i < 5; ++i) {
        auto const first = repository.insert(x, Stock{"x", 1}, soon).value();
        CHECK(first > highest);
        CHECK(repository.insert(x, Stock{"x", 9}, soon).errc() == Errc::already_exists);
        auto const second = repository.compare_and_set(x, first, Stock{"x", 2}, soon).value();
        CHECK(second > first);
        CHECK(repository.compare_and_set(x, first, Stock{"x", 9}, soon).errc() == Errc::version_conflict);
        CHECK(repository.erase(x, first, soon).errc() == Errc::version_conflict);
        CHECK(repository.load(x, soon).value() == Versioned<Stock>{Stock{"x", 2}, second});
        CHECK(repository.erase(x, second, soon).value() == second);
        highest = second;
    }
}

TEMPLATE_LIST_TEST_CASE(
    "several keys are loaded in their order, with nothing for a key without a value", "[contract][versioned]",
    VersionedBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const first = repository.insert(Stock{"a", 1}).value();
    auto const second = repository.insert(Stock{"b", 2}).value();
    auto const loaded = repository.load(std::array{"b", "none", "a", "b"}, soon).value();
    REQUIRE(loaded.size() == 4);
    CHECK(loaded[0] == Versioned<Stock>{Stock{"b", 2}, second});
    CHECK_FALSE(loaded[1]);
    CHECK(loaded[2] == Versioned<Stock>{Stock{"a", 1}, first});
    CHECK(loaded[3] == loaded[0]);
    CHECK(repository.load(std::vector<std::string>{}, soon).value().empty());
    CHECK(repository.load(std::vector{key("a"), key("")}, soon).errc() == Errc::invalid_argument);
    CHECK(
        repository.load(std::vector{key("a")}, Deadline{std::chrono::duration<double>(NAN)}).errc() ==
        Errc::invalid_argument);
    std::vector<Stock> many;
    for (int i = 0; i < 300; ++i) {
        many.push_back(Stock{"many-" + std::to_string(i), i});
        if (i % 2 == 0)
            repository.insert(many.back()).value();
    }
    auto const all = repository.load(many, soon).value();
    REQUIRE(all.size() == 300);
    for (std::size_t i = 0; i < 300; ++i)
        CHECK(all[i].has_value() == (i % 2 == 0));
    CHECK(all[298]->value == many[298]);
}

TEMPLATE_LIST_TEST_CASE(
    "what a repository does for a caller that blocks it does for one that does not", "[contract][versioned]",
    VersionedBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const wait = [](auto future) { return future.get(); };
    auto const& token = boost::asio::use_future;
    Stock const ten{"x", 10};
    auto const version = wait(repository.async_insert(ten, soon, token)).value();
    CHECK(repository.load("x").value() == Versioned<Stock>{ten, version});
    CHECK(wait(repository.async_insert("x", ten, token)).errc() == Errc::already_exists);
    CHECK(wait(repository.async_load("x", token)).value() == Versioned<Stock>{ten, version});
    CHECK(wait(repository.async_load("none", soon, token)).errc() == Errc::not_found);
    auto const both = wait(repository.async_load(std::array{"none", "x"}, token)).value();
    REQUIRE(both.size() == 2);
    CHECK_FALSE(both[0]);
    CHECK(both[1] == Versioned<Stock>{ten, version});
    Stock const nine{"x", 9};
    auto const next = wait(repository.async_compare_and_set("x", version, nine, soon, token)).value();
    CHECK(next > version);
    CHECK(wait(repository.async_compare_and_set("x", version, nine, token)).errc() == Errc::version_conflict);
    CHECK(
        wait(repository.async_compare_and_set("x", no_version, nine, token)).errc() ==
        Errc::invalid_argument);
    auto const last = wait(async_save_if(repository, next, ten, token)).value();
    CHECK(last > next);
    CHECK(wait(repository.async_erase("x", version, token)).errc() == Errc::version_conflict);
    CHECK(wait(repository.async_erase("x", last, soon, token)).value() == last);
    CHECK(wait(repository.async_erase("x", last, token)).errc() == Errc::not_found);
    CHECK(wait(repository.async_load(key(""), token)).errc() == Errc::invalid_argument);
    Deadline const no_number{std::chrono::duration<double>(NAN)};
    CHECK(wait(repository.async_load("x", no_number, token)).errc() == Errc::invalid_argument);
}

TEMPLATE_LIST_TEST_CASE("keys are bytes on every backend", "[contract][versioned]", VersionedBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    std::vector<std::string> const names{
        "acct",
        std::string("acct\0A", 6),
        std::string("acct\0B", 6),
        "\xff\xfe",
        "sku",
        "SKU",
        "\xc3\xa9",
        "e\xcc\x81",
        "a",
        std::string(512, 'a'),
        "/",
        "..",
        "*",
        "?",
        "[",
        "]",
        "{}",
        ":",
        "\r\n",
        "%s%n",
        "'",
        "\"",
        ";",
        "--"};
    int n = 0;
    for (auto const& name : names)
        CHECK(repository.insert(key(name), Stock{name, n++}, soon));
    n = 0;
    for (auto const& name : names)
        CHECK(repository.load(key(name), soon).value().value == Stock{name, n++});
    for (auto const& bad : {std::string(), std::string(513, 'a'), std::string(1 << 20, 'a')}) {
        CHECK(repository.load(key(bad), soon).errc() == Errc::invalid_argument);
        CHECK(repository.insert(key(bad), Stock{bad, 1}, soon).errc() == Errc::invalid_argument);
    }
}

TEMPLATE_LIST_TEST_CASE(
    "a value beyond the size limit is refused when it is written", "[contract][versioned]", VersionedBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    CHECK(repository.insert(key("x"), Stock{std::string(std::size_t{1} << 16, 'x'), 1}, soon));
    CHECK(
        repository.insert(key("y"), Stock{std::string(std::size_t{1} << 25, 'x'), 1}, soon).errc() ==
        Errc::invalid_argument);
    CHECK(repository.load(key("y"), soon).errc() == Errc::not_found);
}

}  // namespace
}  // namespace contract
