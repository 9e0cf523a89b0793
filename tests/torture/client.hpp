// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_CLIENT_HPP
#define INTERLOCK_TESTS_TORTURE_CLIENT_HPP

/// @file
/// What one thread of a client knows, and how its calls are made and written down.

#include <interlock/core/idempotent_request.hpp>
#include <interlock/core/outcome.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include "torture/journal.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace torture {

namespace il = interlock;
using namespace std::chrono_literals;

/// The state that everybody fights for. Its trail has an entry for each effect ever made on it.
struct Account {
    std::string id;
    std::int64_t value{0};
    std::string trail;
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, value, trail))

/// Short, so that a client that is stopped loses what it holds.
inline constexpr auto lock_ttl = 400ms;
/// Shorter than some operations take, so that claims are taken over while their owners still work.
inline constexpr auto claim_lease = 300ms;
/// So long the same states are used; then fresh ones, so that trails stay short.
inline constexpr double epoch = 4;

/// Thrown by an operation on purpose.
struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("the operation threw") {}
};

/// What a call's own operation does beside its change.
struct Temper {
    std::chrono::milliseconds takes{0};
    bool throws{false};
    bool rejects{false};
};

/// One call from its beginning to its end: shared with the operation, which may outlive nobody but runs on
/// any thread.
class Running {
public:
    Running(Journal& journal, CallPlan plan, Temper temper = {})
        : journal_(&journal), plan_(std::move(plan)), temper_(temper)
    {
        tell_begin(*journal_, plan_);
    }

    CallPlan const& plan() const noexcept { return plan_; }
    il::Deadline deadline() const { return std::chrono::duration<double>{plan_.deadline}; }

    /// The operation's part at the i-th state; what to answer.
    std::string change(std::size_t i, Account& state, std::uint64_t token = 0) const
    {
        auto const& change = plan_.changes[i];
        state.value += change.amount;
        state.trail += trail_entry(plan_, token, state.value);
        return answer_of(plan_, change.key, state.value);
    }
    /// How the operation ends that was told so.
    std::string finish(std::string answer)
    {
        if (temper_.takes.count() > 0) {
            auto const began = now();
            std::this_thread::sleep_for(temper_.takes);
            slept(now() - began);
        }
        if (temper_.rejects)
            throw il::FinalRejection("rejected_by_" + plan_.call);
        if (temper_.throws)
            throw Thrown{};
        return answer;
    }
    void slept(double seconds) noexcept { slept_us_ += static_cast<std::int64_t>(seconds * 1e6); }
    std::chrono::milliseconds takes() const noexcept { return temper_.takes; }

    /// Writes down how `get()` ends, an `Outcome` or what the operation threw. True when nobody need ask
    /// again.
    template <class Get>
    bool conclude(Get get)
    {
        try {
            auto const outcome = get();
            tell(end_of(outcome));
            return outcome.effect() == il::Effect::applied;
        } catch (il::FinalRejection const& rejection) {
            tell({.end = "rejected", .answer = rejection.what()});
            return true;
        } catch (Thrown const&) {
            tell({.end = "threw"});
            return true;
        } catch (std::exception const& e) {
            journal_->line("X " + plan_.call + " " + word(plan_.kind) + " " + e.what());
            return true;
        }
    }

private:
    void tell(CallEnd const& end)
    {
        tell_end(*journal_, plan_, static_cast<double>(slept_us_.load()) * 1e-6, end);
    }

    template <class R>
    static CallEnd end_of(il::Outcome<R> const& outcome)
    {
        auto const effect = outcome.effect();
        CallEnd end{
            .end = effect == il::Effect::applied       ? "applied"
                   : effect == il::Effect::not_applied ? "not"
                                                       : "unknown",
            .error = il::name_of(outcome.errc()),
            .cause = il::name_of(outcome.cause()),
            .replayed = outcome.replayed()};
        if constexpr (requires { outcome->replayed(); })
            end.replayed = outcome && outcome->replayed();
        if (!outcome)
            end.answer = outcome.failure().detail();
        else if constexpr (requires { std::string(outcome->value()); })
            end.answer = outcome->value();
        else if constexpr (requires { std::string(*outcome); })
            end.answer = *outcome;
        else if constexpr (requires { outcome->value; })
            end.answer = std::to_string(outcome->value), end.replayed = outcome->replayed;
        return end;
    }

    Journal* journal_;
    CallPlan plan_;
    Temper temper_;
    std::atomic<std::int64_t> slept_us_{0};
};

using Shared = std::shared_ptr<Running>;

/// One thread of a client.
class Actor {
public:
    Actor(Journal& journal, boost::asio::io_context& loop, std::string name, std::uint64_t seed)
        : journal_(&journal), loop_(&loop), name_(std::move(name)), random_(seed)
    {}

    Journal& journal() const noexcept { return *journal_; }
    /// An executor with a single thread, which all threads of the client share.
    boost::asio::io_context& loop() const noexcept { return *loop_; }

    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

    std::string next_name() { return name_ + "." + std::to_string(count_++); }
    /// A hot key of the present epoch.
    std::string key(char family, std::uint64_t of)
    {
        return std::string(1, family) + std::to_string(below(of)) + "/" +
               std::to_string(static_cast<std::uint64_t>(now() / epoch));
    }
    double deadline() { return 0.05 + static_cast<double>(below(2500)) / 1000; }

    /// Mostly quick; some outlive a claim's lease, and a few everybody else's deadline.
    Temper temper(std::uint64_t slow_in, std::uint64_t throws_in)
    {
        Temper temper{.throws = one_in(throws_in)};
        if (one_in(slow_in))
            temper.takes = std::chrono::milliseconds{one_in(4) ? below(600) : below(30)};
        return temper;
    }

    CallPlan plan(std::string_view kind, std::vector<Change> changes)
    {
        auto name = next_name();
        return {
            .call = name,
            .operation = name,
            .kind = kind,
            .deadline = deadline(),
            .changes = std::move(changes)};
    }
    Shared begin(CallPlan plan, Temper temper = {})
    {
        return std::make_shared<Running>(*journal_, std::move(plan), temper);
    }

private:
    Journal* journal_;
    boost::asio::io_context* loop_;
    std::string name_;
    std::mt19937_64 random_;
    std::uint64_t count_{0};
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_CLIENT_HPP
