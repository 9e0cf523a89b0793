// SPDX-License-Identifier: BSL-1.0

// Calls on one state that share commits, while the store refuses: each that ends by its deadline says what
// the store has said, to that call or to another that was in the line with it, in every order of their steps.
//
// How it works: a `Caller` is one call of a service, driven step by step as the blocking driver does, by a
// clock that moves only as an event. From the beginning every sequence of so many events is tried: one of the
// callers makes a step, or time passes. After them the callers take turns until each has ended. Then walks of
// random events, always the same ones, go on to where leaders are replaced and batches are given up.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/detail/combining/combining.hpp>
#include <interlock/core/detail/transaction/transaction_call.hpp>
#include <interlock/core/kit/store_members.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/system_executor.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"
#include "support/states.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {
namespace sharing_reasons {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::ManualRuntime;
using interlock_test::Stock;
using Memory = memory::StateRepository<Stock, std::string, ManualRuntime>;

/// The threads of a runtime: what is left to the background, such as taking back a grant that nobody knows
/// of, goes on when this ends, until nothing is left of it.
class Background {
public:
    explicit Background(ManualRuntime runtime) : runtime_(std::move(runtime))
    {
        runtime_.set_executor(io_.get_executor());
        runtime_.set_blocking_executor(io_.get_executor());
    }
    Background(Background const&) = delete;
    Background& operator=(Background const&) = delete;
    ~Background()
    {
        while (io_.poll() > 0 || runtime_.armed() > 0) {
            runtime_.advance(1h);
            io_.restart();
        }
        runtime_.set_executor(boost::asio::system_executor{});
        runtime_.set_blocking_executor(boost::asio::system_executor{});
    }

private:
    ManualRuntime runtime_;
    boost::asio::io_context io_;
};

/// What the store refuses, from the first call on. What is pending has no answer until the deadline; the call
/// itself knows why.
enum class Refuses : unsigned char { loads, commits, locks, locks_slowly, pending_loads, pending_locks };

/// A store behind a network that answers at once, and that takes no call after its deadline. Where it is slow
/// with locks, no reply comes to one that asks short before its deadline.
class Refusing : public StoreMembers<Refusing, Stock, std::string> {
public:
    using value_type = Stock;
    using key_type = std::string;
    using runtime_type = ManualRuntime;

    Refusing(ManualRuntime runtime, Refuses refuses)
        : inner_(memory::RepositoryOptions{}, std::move(runtime)),
          story_(std::make_shared<Story>(Story{refuses, {}}))
    {
        inner_.insert(Stock{"x", 0}).value();
    }
    runtime_type runtime() const { return inner_.runtime(); }
    void const* identity() const noexcept { return inner_.identity(); }
    /// Called after each refusal.
    void on_refused(std::function<void()> heard) const { story_->heard = std::move(heard); }

    template <class Verb>
        requires CarriesOut<Memory, Verb>
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        if (runtime().now() >= deadline.at(runtime().now()))
            return Errc::deadline_exceeded;
        if (refuses(Verb::name)) {
            if (auto const end = deadline.at(runtime().now());
                story_->refuses == Refuses::locks_slowly && end - runtime().now() < 3ms) {
                runtime().advance_to(end);
                return Failure::unknown(Errc::deadline_exceeded, "no reply within the deadline");
            }
            story_->heard();
            return Failure{Errc::unavailable, "not enough replicas"};
        }
        return inner_.carry_out(verb, deadline);
    }

    Capabilities capabilities() const noexcept
    {
        bool const pending =
            story_->refuses == Refuses::pending_loads || story_->refuses == Refuses::pending_locks;
        return {.starts_calls = pending};
    }
    template <class Verb>
        requires CarriesOut<Memory, Verb>
    StartedCall<typename Verb::answer> start(Verb const& verb, Deadline deadline, Waiter& waiter) const
    {
        using X = typename Verb::answer;
        if (!refuses(Verb::name)) {
            auto call = std::make_unique<Call<X>>(runtime(), TimePoint::max(), carry_out(verb, deadline));
            waiter.wake();
            return call;
        }
        story_->heard();
        return std::make_unique<Call<X>>(runtime(), deadline.at(runtime().now()), std::nullopt);
    }

private:
    template <class X>
    class Call final : public StoreCall<X> {
    public:
        Call(ManualRuntime runtime, TimePoint deadline, std::optional<Outcome<X>> outcome)
            : runtime_(std::move(runtime)), deadline_(deadline), outcome_(std::move(outcome))
        {}
        std::optional<Outcome<X>> poll() override
        {
            if (!outcome_ && runtime_.now() >= deadline_)
                outcome_.emplace(Failure::because(Errc::deadline_exceeded, reason()));
            return std::move(outcome_);
        }
        Failure reason() override { return Failure{Errc::unavailable, "not enough replicas"}; }

    private:
        ManualRuntime runtime_;
        TimePoint deadline_;
        std::optional<Outcome<X>> outcome_;
    };

    bool refuses(std::string_view verb) const
    {
        switch (story_->refuses) {
        case Refuses::pending_loads:
        case Refuses::loads: return verb == "load";
        case Refuses::commits: return verb == "compare_and_set" || verb == "commit";
        case Refuses::locks:
        case Refuses::pending_locks:
        case Refuses::locks_slowly: return verb == "create" || verb == "create_and_load";
        }
        return false;
    }
    struct Story {
        Refuses refuses;
        std::function<void()> heard;
    };

    Memory inner_;
    std::shared_ptr<Story> story_;
};

struct WakeUp final : Waiter {
    void wake() noexcept override { woken = true; }
    bool may_block() const noexcept override { return false; }
    bool woken{true};
};

using Operation = std::function<void(Stock&)>;

template <class Session>
class Caller {
    using Call = detail::TransactionCall<Session, 1, Operation, detail::Once::no>;

public:
    Caller(Session const& session, ManualRuntime runtime, std::chrono::nanoseconds deadline, bool throws)
        : runtime_(std::move(runtime)), operation_([throws](Stock& stock) {
              ++stock.quantity;
              if (throws)
                  throw std::runtime_error("out of stock");
          }),
          call_(session, keys_, none_, operation_, terms(deadline)), action_(call_.start(nullptr))
    {}

    /// What the blocking driver would do next. False: it would sleep, or has ended.
    bool step()
    {
        if (ended())
            return false;
        auto const now = runtime_.now();
        if (action_ == detail::Action::sleep) {
            if (now < call_.machine().wake_at())
                return false;
            action_ = call_.feed(action_);
        } else if (action_ == detail::Action::run) {
            call_.run();
            action_ = call_.feed(action_);
        } else if (waits_ && action_ == detail::Action::begin && now >= call_.deadline()) {
            waits_ = false;
            action_ = call_.expire(Errc::deadline_exceeded);
        } else if (waits_ && !waiter_.woken && now < call_.wake_at()) {
            return false;
        } else {
            in_line_ = true;
            waiter_.woken = false;
            waits_ = !call_.perform(action_, waiter_);
            if (!waits_)
                action_ = call_.feed(action_);
        }
        if (action_ == detail::Action::finish)
            end();
        return true;
    }
    bool ended() const noexcept { return outcome_.has_value() || threw_; }
    /// Another call in its line was refused.
    void other_refused() noexcept
    {
        bool const decided = action_ == detail::Action::rollback || action_ == detail::Action::finish;
        heard_ = heard_ || (in_line_ && !decided);
    }

    /// Nothing: it has said what it must. Else what it said.
    std::optional<std::string> silent() const
    {
        if (!heard_ || !outcome_ || outcome_->errc() != Errc::deadline_exceeded)
            return std::nullopt;
        bool const told = outcome_->cause() == Errc::unavailable &&
                          outcome_->detail().find("not enough replicas") != std::string::npos;
        return told ? std::nullopt : std::optional{outcome_->message()};
    }
    bool late() const noexcept { return heard_ && outcome_ && outcome_->errc() == Errc::deadline_exceeded; }

private:
    detail::CallTerms terms(std::chrono::nanoseconds deadline) const
    {
        detail::CallTerms made{};
        made.deadline = deadline;
        made.now = runtime_.now();
        return made;
    }
    void end()
    {
        threw_ = call_.threw();
        if (!threw_)
            outcome_.emplace(call_.outcome());
    }

    ManualRuntime runtime_;
    std::array<Key, 1> keys_{Key{"x"}};
    std::array<std::optional<Stock>, 1> none_;
    Operation operation_;
    WakeUp waiter_;
    Call call_;
    detail::Action action_;
    bool waits_{false};
    bool in_line_{false};
    bool heard_{false};
    bool threw_{false};
    std::optional<Outcome<void>> outcome_;
};

/// Three callers of one service, of which the first has the most time, and the last one's operation throws.
template <class Policy>
class World {
    using Session = detail::CombiningSession<typename Policy::template Session<Refusing>>;

public:
    static constexpr std::size_t callers = 3;
    static constexpr std::size_t events = callers + 2;

    World(Policy const& policy, Refuses refuses)
        : store_(runtime_, refuses), session_(policy, store_, nullptr, 64, 1ms)
    {
        for (std::size_t i = 0; i < callers; ++i)
            callers_[i].emplace(session_, runtime_, 40ms - 12ms * static_cast<int>(i), i == 2);
        store_.on_refused([this] {
            for (std::size_t i = 0; i < callers; ++i)
                if (i != now_)
                    callers_[i]->other_refused();
        });
    }

    /// Of 0 to `events`.
    void happens(std::size_t event)
    {
        now_ = event;
        if (event < callers)
            callers_[event]->step();
        else
            runtime_.advance(event == callers ? 1ms : 7ms);
    }
    /// The callers take turns until each has ended.
    void finish()
    {
        for (int turns = 0; turns < 1000; ++turns) {
            bool busy = false;
            for (std::size_t i = 0; i < callers; ++i) {
                now_ = i;
                busy = callers_[i]->step() || busy;
            }
            if (std::ranges::all_of(callers_, [](auto const& caller) { return caller->ended(); }))
                return;
            if (!busy)
                runtime_.advance(500us);
        }
        problem = "a call does not end";
    }
    void check(std::size_t& late)
    {
        for (auto const& caller : callers_) {
            late += caller->late();
            if (auto const said = caller->silent(); said && problem.empty())
                problem = *said;
        }
    }

    std::string problem;

private:
    ManualRuntime runtime_;
    Background background_{runtime_};
    Refusing store_;
    Session session_;
    std::array<std::optional<Caller<Session>>, callers> callers_;
    std::size_t now_{0};  // who steps
};

template <class Policy>
void explore(Policy const& policy, Refuses refuses)
{
    std::size_t late = 0;
    std::string problem;
    auto const run = [&](std::vector<std::size_t> const& events) {
        World<Policy> world{policy, refuses};
        for (auto const event : events)
            world.happens(event);
        world.finish();
        world.check(late);
        if (!world.problem.empty() && problem.empty()) {
            problem = world.problem + "; after";
            for (auto const event : events)
                problem += ' ' + std::to_string(event);
        }
    };
    constexpr auto kinds = World<Policy>::events;
    for (std::vector<std::size_t> events(5); problem.empty();) {
        run(events);
        auto const place = std::ranges::find_if(events, [&](auto& event) {
            event = (event + 1) % kinds;
            return event != 0;
        });
        if (place == events.end())
            break;
    }
    std::mt19937 random{1};
    for (int walks = 0; walks < 4000 && problem.empty(); ++walks) {
        std::vector<std::size_t> events(20 + random() % 60);
        for (auto& event : events)
            event = random() % 6 == 0 ? World<Policy>::callers + random() % 2 : random() % kinds;
        run(events);
    }
    CAPTURE(problem);
    CHECK(problem.empty());
    CHECK(late > 1000);
}

}  // namespace sharing_reasons
}  // namespace

TEST_CASE(
    "Whoever shares commits hears why the store refuses them, in every order", "[interleaving][sharing]")
{
    using namespace sharing_reasons;
    explore(OptimisticVersioning{}, Refuses::commits);
}

TEST_CASE("Whoever waits for a leader hears why it could not load", "[interleaving][sharing]")
{
    using namespace sharing_reasons;
    explore(OptimisticVersioning{}, Refuses::loads);
}

TEST_CASE("Whoever waits for a leader hears why its load has no answer", "[interleaving][sharing]")
{
    using namespace sharing_reasons;
    explore(OptimisticVersioning{}, Refuses::pending_loads);
}

TEST_CASE("Whoever waits for a leader hears why its lock has no answer", "[interleaving][sharing]")
{
    using namespace sharing_reasons;
    explore(SetNxLock{}, Refuses::pending_locks);
}

TEST_CASE("Whoever waits for a leader hears why it gets no lock", "[interleaving][sharing]")
{
    using namespace sharing_reasons;
    explore(SetNxLock{}, Refuses::locks);
}

TEST_CASE(
    "An attempt that its deadline cuts short does not hide what the store said before",
    "[interleaving][sharing]")
{
    using namespace sharing_reasons;
    ManualRuntime runtime;
    runtime.waits_advance(true);
    Background const background{runtime};
    Refusing const store{runtime, Refuses::locks_slowly};
    int refused = 0;
    store.on_refused([&] { ++refused; });
    auto const policy = SetNxLock{.lock = {.poll = {.initial = 1ms, .cap = 1ms}}};
    auto const outcome = TransactionService{policy, store}.try_do_in_transaction(
        "x", [](Stock& stock) { ++stock.quantity; }, {.deadline = 20ms});
    CHECK(refused > 3);
    CHECK(outcome.errc() == Errc::deadline_exceeded);
    CHECK(outcome.cause() == Errc::unavailable);
    CHECK(outcome.detail().find("not enough replicas") != std::string::npos);
}
