// SPDX-License-Identifier: BSL-1.0

#include "locks.hpp"

#include <interlock/core/backoff.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/open.hpp>
#ifdef DLOCK_POSTGRES
#include <interlock/backends/postgres/backend.hpp>
#include <interlock/backends/postgres/schema.hpp>
#endif
#ifdef DLOCK_REDIS
#include <interlock/backends/redis/backend.hpp>
#endif
#ifdef DLOCK_REDIS_TLS
#include <interlock/backends/redis/tls.hpp>
#endif

#include <boost/describe/class.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <stop_token>
#include <tuple>
#include <utility>

namespace dlock {

namespace il = interlock;
using namespace std::chrono_literals;

namespace {

/// A lock has a name and guards no state in the store.
struct Name {
    std::string name;
};
BOOST_DESCRIBE_STRUCT(Name, (), (name))

// How long dlock takes a silent store for one that will answer.
constexpr Duration patience = 10s;
// One call that waits; after it, the next one.
constexpr Duration longest_call = 1h;

auto const backends = std::tuple_cat(
    std::tuple<>{}
#ifdef DLOCK_REDIS_TLS
    ,
    std::tuple{il::redis::backend, il::redis::TlsBackend{}, il::redis::unix_backend}
#elif defined DLOCK_REDIS
    ,
    std::tuple{il::redis::backend, il::redis::tls_backend, il::redis::unix_backend}
#endif
#ifdef DLOCK_POSTGRES
    ,
    std::tuple{il::postgres::backend, il::postgres::short_backend}
#endif
);

il::StateRepository<Name> open_store(std::string const& url)
{
    try {
        return std::apply([&](auto const&... backend) { return il::open<Name>(url, backend...); }, backends);
    } catch (il::Error const& error) {
        throw Fault{error.what()};
    }
}

[[noreturn]] void fail(il::Failure const& failure)
{
    auto text = failure.message();
    if (failure.errc() == il::Errc::misconfigured && text.find("42P01") != std::string::npos)
        text += "; there are no tables yet: run dlock setup";
    throw Fault{std::move(text)};
}

/// Whether a call that its deadline has ended had met another holder, and not a store that is away.
bool met_a_holder(il::Failure const& failure)
{
    return failure.errc() == il::Errc::lock_busy ||
           (failure.errc() == il::Errc::deadline_exceeded && failure.cause() == il::Errc::lock_busy);
}

/// Whether the answer stays the same for as long as nobody mends the store or the program.
bool waiting_helps_nobody(il::Errc code)
{
    return code == il::Errc::invalid_argument || code == il::Errc::corrupt_state ||
           code == il::Errc::version_exhausted || code == il::Errc::misconfigured;
}

/// The pause before the question that follows the `answers`-th useless answer, counted from 1: at most a
/// second, and not beyond `most`. `stop` ends it.
void pause_after(int answers, Duration most, std::stop_token const& stop)
{
    constexpr il::Backoff backoff{.initial = 50ms, .cap = 1s, .immediate = 0};
    std::mutex mutex;
    std::unique_lock lock{mutex};
    std::condition_variable_any never;
    never.wait_for(lock, stop, std::min(most, backoff.delay(answers, il::SystemRuntime::random_bits())), [] {
        return false;
    });
}

}  // namespace

struct Locks::Held {
    explicit Held(il::StateRepository<Name> store, Duration ttl)
        : repository(std::move(store)), locks(repository, {.ttl = il::Ttl{ttl}})
    {}

    il::StateRepository<Name> repository;
    il::LockStateService<Name> locks;
    std::vector<il::Lock<Name>> held;
    std::deque<std::stop_callback<std::function<void()>>> watches;  // they stay where they are
};

Locks::Locks(std::string const& url, Duration ttl) : held_(std::make_unique<Held>(open_store(url), ttl)) {}

Locks::~Locks() = default;

Locks::Taken Locks::take(
    std::vector<std::string> const& names, std::optional<Duration> wait, std::stop_token const& stop,
    std::function<void(std::string const&)> const& busy)
{
    auto const now = [] { return il::SystemRuntime::now().time_since_epoch(); };
    auto const until = wait ? now() + std::min(*wait, Duration{24h * 36500}) : Duration::max();
    for (auto const& name : names) {
        // The first question tells a holder from a store that is away; only then is it worth waiting.
        auto taken = held_->locks.acquire_outcome(
            name, il::Wait::no, {.deadline = patience, .stop = il::StopSignal{stop}});
        if (!taken && taken.errc() == il::Errc::lock_busy)
            busy(name);
        bool waited = false;
        for (int answers = 0; !taken && taken.errc() != il::Errc::cancelled;) {
            bool const holder = met_a_holder(taken.failure());
            if (!holder && (!waited || waiting_helps_nobody(taken.errc())))
                fail(taken.failure());
            answers = holder ? 0 : answers + 1;
            if (!holder)
                pause_after(answers, until - now(), stop);
            if (now() >= until)
                break;
            waited = true;
            taken = held_->locks.acquire_outcome(
                name, il::Wait::until_deadline,
                {.deadline = std::min(longest_call, until - now()), .stop = il::StopSignal{stop}});
        }
        if (!taken) {
            auto const code = taken.errc();
            if (code != il::Errc::cancelled && !met_a_holder(taken.failure()))
                fail(taken.failure());
            static_cast<void>(give_back());
            return code == il::Errc::cancelled ? Taken::stopped : Taken::busy;
        }
        held_->held.push_back(*std::move(taken));
    }
    return Taken::yes;
}

std::vector<std::string> Locks::tokens() const
{
    std::vector<std::string> all;
    for (auto const& lock : held_->held)
        all.push_back(std::to_string(lock.fencing_token().value()));
    return all;
}

Duration Locks::remaining() const
{
    Duration least = Duration::max();
    for (auto const& lock : held_->held)
        least = std::min(least, lock.remaining());
    return least;
}

std::optional<std::string> Locks::lost() const
{
    for (auto const& lock : held_->held) {
        try {
            lock.check();
        } catch (il::Error const& error) {
            return fmt::format("the lock {} is lost ({})", lock.state().name, error.what());
        }
    }
    return std::nullopt;
}

void Locks::when_lost(std::function<void()> const& then)
{
    for (auto const& lock : held_->held)
        held_->watches.emplace_back(lock.stop_token(), then);
}

Locks::GivenBack Locks::give_back()
{
    held_->watches.clear();
    GivenBack all;
    while (!held_->held.empty()) {
        auto const name = held_->held.back().state().name;
        auto const released = held_->held.back().release();
        held_->held.pop_back();
        if (released)
            continue;
        auto& said = released.errc() == il::Errc::lock_lost ? all.lost : all.objection;
        if (said)
            continue;
        said = fmt::format("the lock {} ({})", name, released.failure().message());
        if (released.errc() != il::Errc::lock_lost)
            continue;
        if (auto const now = held_->repository.inspect(name, patience))
            all.lost = *now ? fmt::format("the lock {} is held by {} now", name, (*now)->holder)
                            : fmt::format("the lock {} is not held any more: somebody has broken it", name);
    }
    return all;
}

std::vector<Seen> Locks::look(std::vector<std::string> const& names) const
{
    std::vector<Seen> all;
    for (auto const& name : names) {
        auto found = held_->repository.inspect(name, patience);
        if (!found)
            fail(found.failure());
        all.push_back({name, *std::move(found)});
    }
    if (!names.empty())
        return all;
    auto const listed = held_->repository.for_each_lock(
        [&](il::Key const& key, il::LockInfo const& info) {
            all.push_back({std::string(key.bytes()), info});
        },
        5min);
    if (!listed)
        fail(listed.failure());
    std::sort(all.begin(), all.end(), [](Seen const& a, Seen const& b) { return a.name < b.name; });
    return all;
}

Broken Locks::end(Seen const& seen) const
{
    if (!seen.info)
        return Broken::nobody_held_it;
    auto const removal = held_->repository.break_lock(seen.name, *seen.info, patience);
    if (!removal)
        fail(removal.failure());
    switch (*removal) {
    case il::Removal::removed: return Broken::yes;
    case il::Removal::gone: return Broken::nobody_held_it;
    case il::Removal::taken: break;
    }
    return Broken::changed_meanwhile;
}

void set_up([[maybe_unused]] std::string const& url)
{
#ifdef DLOCK_POSTGRES
    if (url.starts_with("postgres")) {
        try {
            auto const made = il::postgres::create_schema(il::postgres::Pool{url});
            if (!made)
                fail(made.failure());
            return;
        } catch (il::Error const& error) {
            throw Fault{error.what()};
        }
    }
#endif
    static_cast<void>(open_store(url));  // nothing to make, but a bad URL is told
}

}  // namespace dlock
