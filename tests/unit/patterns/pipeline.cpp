// SPDX-License-Identifier: BSL-1.0

// From the log through a subscription into an inbox, while processes die at every call of a store, and while
// calls are refused, and requests and replies are lost: nothing is lost, nothing has its effect twice, and
// each stream keeps its order. Time is virtual.

#include <interlock/backends/memory/event_repository.hpp>
#include <interlock/interlock.hpp>
#include <interlock/patterns/inbox.hpp>
#include <interlock/patterns/subscription.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/manual_runtime.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <utility>

namespace {
namespace pipeline {

namespace il = interlock;
using namespace std::chrono_literals;
using interlock_test::ManualRuntime;

struct Shipment {
    std::string sku;
    std::int64_t parcels{0};
    std::int64_t last{0};  // number of the last event
    bool out_of_order{false};
};
BOOST_DESCRIBE_STRUCT(Shipment, (), (sku, parcels, last, out_of_order))

enum class Fault : unsigned char { none, refused, lost_request, lost_reply };

/// What happens to the calls of one process.
using Weather = std::function<Fault()>;

template <class Inner, class Verb>
il::Outcome<typename Verb::answer> call(
    Inner const& inner, Weather const& weather, Verb const& verb, il::Deadline deadline)
{
    auto const fault = weather();
    if (fault == Fault::refused || (fault == Fault::lost_request && Verb::reads))
        return il::Errc::unavailable;
    if (fault == Fault::lost_request)
        return il::Failure::unknown(il::Errc::unavailable);
    auto outcome = inner.carry_out(verb, deadline);
    if (fault == Fault::none)
        return outcome;
    return Verb::reads ? il::Failure{il::Errc::unavailable} : il::Failure::unknown(il::Errc::unavailable);
}

/// A repository as one process sees it.
template <class R>
class Seen : public il::StoreMembers<Seen<R>, typename R::value_type, typename R::key_type> {
public:
    using value_type = typename R::value_type;
    using key_type = typename R::key_type;
    using runtime_type = typename R::runtime_type;
    Seen(R inner, Weather weather) : inner_(std::move(inner)), weather_(std::move(weather)) {}
    runtime_type runtime() const { return inner_.runtime(); }
    void const* identity() const noexcept { return inner_.identity(); }
    static constexpr il::Capabilities capabilities() noexcept { return {.answers_in_place = true}; }
    template <class Verb>
        requires il::CarriesOut<R, Verb>
    il::Outcome<typename Verb::answer> carry_out(Verb const& verb, il::Deadline deadline) const
    {
        return call(inner_, weather_, verb, deadline);
    }

private:
    R inner_;
    Weather weather_;
};

/// A log as one process sees it.
template <class E>
class SeenEvents : public il::EventMembers<SeenEvents<E>> {
public:
    using runtime_type = typename E::runtime_type;
    SeenEvents(E inner, Weather weather) : inner_(std::move(inner)), weather_(std::move(weather)) {}
    runtime_type runtime() const { return inner_.runtime(); }
    void const* identity() const noexcept { return inner_.identity(); }
    unsigned partitions() const noexcept { return inner_.partitions(); }
    template <class Verb>
    il::Outcome<typename Verb::answer> carry_out(Verb const& verb, il::Deadline deadline) const
    {
        return call(inner_, weather_, verb, deadline);
    }

private:
    E inner_;
    Weather weather_;
};

using Events = il::memory::BasicEventRepository<ManualRuntime>;
using Cursors = il::memory::StateRepository<il::Cursor, std::string, ManualRuntime>;
using Shipments = il::memory::StateRepository<Shipment, std::string, ManualRuntime>;
constexpr int streams = 3;
constexpr int per_stream = 4;

struct World {
    explicit World(std::uint64_t seed) : runtime(seed)
    {
        runtime.waits_advance(true);
        for (int i = 0; i < streams * per_stream; ++i) {
            il::NewEvent event;
            event.type = "stock.sold";
            REQUIRE(events.append(
                il::Key{"sku-" + std::to_string(i % streams)}, il::Expected::any(), {&event, 1}));
        }
    }

    /// One process, until nothing is left or it gives up.
    il::Outcome<std::size_t> process(Weather const& weather) const
    {
        il::Inbox const inbox{
            il::TransactionService{
                il::OptimisticVersioning{.missing = il::Missing::create}, Seen{shipments, weather}},
            "shipping"};
        il::SubscriptionOptions options;
        options.batch = 4;
        options.ttl = 1s;
        il::Subscription const shipping{
            SeenEvents{events, weather}, Seen{cursors, weather}, "shipping", options};
        auto const handler = [&](il::Event const& event) {
            return inbox.handle(event, std::string(event.stream.bytes()), [&](Shipment& s) {
                s.out_of_order = s.out_of_order || event.number != s.last + 1;
                s.last = event.number;
                ++s.parcels;
            });
        };
        return shipping.drain(handler, 1min);
    }

    /// Each event had its effect, once, in its turn.
    void check() const
    {
        for (int i = 0; i < streams; ++i) {
            auto const shipment = shipments.load("sku-" + std::to_string(i)).value().value;
            CHECK(shipment.parcels == per_stream);
            CHECK(!shipment.out_of_order);
        }
        auto const cursor = cursors.load("shipping/0").value().value;
        CHECK(cursor.position == streams * per_stream);
        CHECK(cursor.parked.empty());
    }

    ManualRuntime runtime;
    Events events{{}, runtime};
    Cursors cursors{{}, runtime};
    Shipments shipments{{}, runtime};
};

}  // namespace pipeline
}  // namespace

TEST_CASE("A process may die at any call of a store", "[patterns][subscription][inbox]")
{
    using namespace pipeline;
    int deaths = 0;
    for (auto const last_call : {Fault::lost_request, Fault::lost_reply})
        for (int n = 1; n < 200; ++n) {
            INFO(
                "at call " << n << ", which was " << (last_call == Fault::lost_reply ? "" : "not ")
                           << "made");
            World const world{static_cast<std::uint64_t>(n)};
            auto const calls = std::make_shared<std::atomic<int>>(0);  // locks are let go on another thread
            auto const first = world.process([=] {
                auto const call = ++*calls;
                return call < n ? Fault::none : call == n ? last_call : Fault::refused;
            });
            bool const died = *calls >= n;
            deaths += died ? 1 : 0;
            CHECK(world.process([] { return Fault::none; }));
            world.check();
            if (!died)
                break;
        }
    CHECK(deaths > 40);
}

TEST_CASE("Calls may be refused, and requests and replies be lost", "[patterns][subscription][inbox]")
{
    using namespace pipeline;
    struct Luck {  // locks are let go on another thread
        explicit Luck(std::uint64_t seed) : random(seed) {}
        std::mutex mutex;
        std::mt19937_64 random;
        int faults = 0;
    };
    int faults = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        INFO("seed " << seed);
        World const world{seed};
        auto const shared = std::make_shared<Luck>(seed);
        auto const weather = [shared] {
            std::lock_guard const lock(shared->mutex);
            auto const luck = shared->random() % 100;
            if (luck >= 15)
                return Fault::none;
            ++shared->faults;
            return luck < 5 ? Fault::refused : luck < 10 ? Fault::lost_request : Fault::lost_reply;
        };
        for (int i = 0; i < 20 && !world.process(weather); ++i) {
        }
        CHECK(world.process([] { return Fault::none; }));
        // What failed too often was parked; a person lets it go on.
        il::Subscription const shipping{world.events, world.cursors, "shipping"};
        for (auto const& parked : shipping.parked().value())
            CHECK(shipping.resume(parked.stream));
        CHECK(world.process([] { return Fault::none; }));
        world.check();
        std::lock_guard const lock(shared->mutex);
        faults += shared->faults;
    }
    CHECK(faults > 1000);
}
