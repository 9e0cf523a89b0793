// SPDX-License-Identifier: BSL-1.0

// States whose copies, moves and comparisons throw: the call may end with that, and what the library does
// with a state for its own sake is left out. Neither does the process end, nor is the lock kept.
//
// How it works: the state counts what is done with it, and throws at the n-th time. Each call is made for
// each n, up to more than it needs.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/kit/state_cache.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/blocking_repository.hpp"
#include "support/catch.hpp"
#include "support/unwound.hpp"

#include <chrono>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace throwing_states_test {

namespace asio = boost::asio;
using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::BlockingRepository;

/// Throws when it is called for the n-th time.
struct Fuse {
    void lit(int n) { left = n; }
    void out() { left = std::numeric_limits<int>::max(); }
    void burn()
    {
        if (--left == 0)
            throw std::runtime_error("a state's own");
    }
    int left{std::numeric_limits<int>::max()};
};

struct Fragile {
    Fragile() = default;
    Fragile(std::string s, int q) : sku(std::move(s)), quantity(q) {}
    Fragile(Fragile const& other) : sku(other.sku), quantity(other.quantity)
    {
        copies.burn();
        if (on_copy)
            on_copy();
    }
    Fragile(Fragile&& other) : sku(std::move(other.sku)), quantity(other.quantity) { moves.burn(); }
    Fragile& operator=(Fragile const& other) { return *this = Fragile(other); }
    Fragile& operator=(Fragile&& other)
    {
        moves.burn();
        sku = std::move(other.sku);
        quantity = other.quantity;
        return *this;
    }
    ~Fragile() = default;
    friend bool operator==(Fragile const& a, Fragile const& b)
    {
        comparisons.burn();
        return a.sku == b.sku && a.quantity == b.quantity;
    }

    std::string sku;
    int quantity{0};

    inline static Fuse copies;
    inline static Fuse moves;
    inline static Fuse comparisons;
    inline static std::function<void()> on_copy;
};
}  // namespace throwing_states_test

/// A form of its author's, so that its own `==` has a say in whether it was changed.
template <>
struct interlock::StateTraits<throwing_states_test::Fragile> {
    using Fragile = throwing_states_test::Fragile;
    using key_type = std::string;
    static std::string key(Fragile const& state) { return state.sku; }
    static void encode(Fragile const& state, std::string& out)
    {
        out += std::to_string(state.quantity) + " " + state.sku;
    }
    static std::optional<Fragile> decode(std::string_view bytes)
    {
        auto const end = bytes.find(' ');
        return Fragile{std::string(bytes.substr(end + 1)), std::stoi(std::string(bytes.substr(0, end)))};
    }
};

namespace throwing_states_test {

using Memory = memory::StateRepository<Fragile>;

/// Whatever a test has left.
struct FusesOut {
    FusesOut() = default;
    FusesOut(FusesOut const&) = delete;
    FusesOut& operator=(FusesOut const&) = delete;
    ~FusesOut()
    {
        for (auto* const fuse : {&Fragile::copies, &Fragile::moves, &Fragile::comparisons})
            fuse->out();
        Fragile::on_copy = {};
    }
};

TEST_CASE("what cannot be copied is not remembered", "[core][throwing_states]")
{
    FusesOut const after;
    StateCache<Fragile> cache{10};
    Key const x{"x"};
    Fragile const state{"x", 2};
    auto const forgets = [&](Fuse& fuse, int n) {
        fuse.lit(n);
        cache.put(x, state, 2, 0);
        CHECK(fuse.left <= 0);
        fuse.out();
        CHECK_FALSE(cache.find(x));
    };
    forgets(Fragile::copies, 1);
    cache.put(x, Fragile{"x", 1}, 1, 0);
    CHECK(cache.find(x)->value.quantity == 1);
    SECTION("in place of an older one")
    {
        forgets(Fragile::copies, 1);
    }
    SECTION("or moved")
    {
        forgets(Fragile::moves, 1);
    }
    cache.put(x, state, 2, 0);
    CHECK(cache.find(x)->version == 2);
}

TEST_CASE(
    "a thread that is cancelled while a state is remembered ends behind that", "[core][throwing_states]")
{
    FusesOut const after;
    StateCache<Fragile> cache{10};
    Key const x{"x"};
    bool returned = false;
    CHECK(interlock_test::cancelled_in([&](auto const& here) {
        Fragile const state{"x", 1};
        Fragile::on_copy = [] { ::pthread_testcancel(); };
        here.soon();
        cache.put(x, state, 1, 0);
        returned = true;
        here();
    }));
    CHECK(returned);
    Fragile::on_copy = {};
    CHECK(cache.find(x));
}

/// Makes `call()` with the fuse lit for each n. Calls that have added one say so, and no others do.
template <class F>
void at_each(Fuse& fuse, Memory const& memory, F const& call)
{
    FusesOut const after;
    int burnt = 0;
    for (int n = 1; n <= 40; ++n) {
        auto const before = memory.load("x")->value.quantity;
        fuse.lit(n);
        Outcome<int> outcome = Errc::outcome_unknown;
        try {
            outcome = call();
        } catch (std::runtime_error const&) {
            outcome = Errc::corrupt_state;
        }
        burnt += fuse.left <= 0 ? 1 : 0;
        fuse.out();
        CAPTURE(n, outcome.errc());
        auto const now = memory.load("x")->value.quantity;
        CHECK(now == before + (outcome ? 1 : 0));
    }
    CHECK(burnt >= 1);
    CHECK(burnt < 40);
}

/// A store that does not say what it has made of a state.
struct Silent : StoreMembers<Silent, Fragile, std::string> {
    using value_type = Fragile;
    using key_type = std::string;
    using runtime_type = SystemRuntime;
    static constexpr std::string_view name = "silent";

    explicit Silent(Memory inner) : memory(std::move(inner)) {}
    SystemRuntime runtime() const { return {}; }
    void const* identity() const { return memory.identity(); }
    Outcome<Versioned<Fragile>> carry_out(verb::Load<Fragile> const& load, Deadline d) const
    {
        return memory.carry_out(load, d);
    }
    Outcome<Version> carry_out(verb::Insert<Fragile> const& insert, Deadline d) const
    {
        return memory.carry_out(insert, d);
    }
    Outcome<Version> carry_out(verb::CompareAndSet<Fragile> const& write, Deadline d) const
    {
        if (write.stored != nullptr)
            write.stored->as_sent = false;
        return memory.carry_out(verb::CompareAndSet<Fragile>{write.key, write.version, write.value}, d);
    }
    Outcome<Version> carry_out(verb::Erase const& erase, Deadline d) const
    {
        return memory.carry_out(erase, d);
    }
    Memory memory;
};

auto const add = [](Fragile& state) { return ++state.quantity; };

TEST_CASE("a call on a state that throws ends, and so does no process", "[core][throwing_states]")
{
    Memory const memory;
    memory.insert(Fragile{"x", 0}).value();
    auto const check = [&](auto const& service) {
        auto const call = [&] { return service.try_do_in_transaction("x", add, {.deadline = 10s}); };
        at_each(Fragile::copies, memory, call);
        at_each(Fragile::moves, memory, call);
        at_each(Fragile::comparisons, memory, call);
    };
    SECTION("optimistic")
    {
        check(TransactionService{OptimisticVersioning{}, memory});
    }
    SECTION("optimistic, with what is remembered")
    {
        check(TransactionService{OptimisticVersioning{.remember = 4}, BlockingRepository<Memory>{memory}});
    }
    SECTION("optimistic, on a store that does not say what it stores")
    {
        check(TransactionService{OptimisticVersioning{.remember = 4}, Silent{memory}});
    }
    SECTION("lease")
    {
        check(TransactionService{SetNxLock{}, memory});
    }
}

TEST_CASE("a lock is handed on, with or without the state", "[core][throwing_states]")
{
    Memory const memory;
    memory.insert(Fragile{"x", 0}).value();
    TransactionService const service{SetNxLock{}, memory};
    asio::io_context io;
    // The first holds the lock until the second is in line.
    auto const slow = [](Fragile& state) -> asio::awaitable<int> {
        auto const sum = ++state.quantity;
        for (int i = 0; i < 10; ++i)
            co_await asio::post(asio::use_awaitable);
        co_return sum;
    };
    auto const call = [&] {
        std::optional<Outcome<int>> first;
        std::optional<Outcome<int>> second;
        auto const into = [&](std::optional<Outcome<int>>& out) {
            return asio::bind_executor(io, [&](std::exception_ptr, Outcome<int> o) { out = std::move(o); });
        };
        service.async_try_do_in_transaction("x", slow, {.deadline = 10s}, into(first));
        service.async_try_do_in_transaction("x", [](Fragile&) { return 0; }, {.deadline = 10s}, into(second));
        io.restart();
        io.run();
        REQUIRE(first);
        REQUIRE(second);
        return *first;
    };
    at_each(Fragile::moves, memory, call);
    at_each(Fragile::copies, memory, call);
}

}  // namespace throwing_states_test
