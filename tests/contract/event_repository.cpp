// SPDX-License-Identifier: BSL-1.0

// The laws of `EventRepository` and of `RecordingRepository`, on every store that has events. Which calls of
// which policy record what is in recording.cpp.

#include "contract/backends.hpp"

#ifdef INTERLOCK_TESTS_CONTRACT_EVENTS

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/contracts/store.hpp>

#include <boost/asio/use_future.hpp>

#include "contract/events.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace contract::event_repository {
namespace {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::run_threads;

/// A position that no log has reached: where positions are the store's clock, a billion may be long ago.
constexpr Position beyond_all = std::numeric_limits<Position>::max();

std::vector<NewEvent> sold(std::vector<int> const& quantities)
{
    std::vector<NewEvent> events;
    for (int const quantity : quantities)
        events.push_back(new_event(Sold{"x", quantity}));
    return events;
}

// ---- what a log is ------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("handles of one log have one identity", "[contract][events]", EventBackends)
{
    TestType const backend;
    TestType const another;
    static_assert(EventRepository<std::remove_cvref_t<decltype(backend.events())>>);
    CHECK(backend.events().identity() == backend.other_events().identity());
    CHECK(backend.events().identity() != another.events().identity());
    CHECK(backend.events().partitions() >= 1);
    CHECK(backend.events().partitions() == backend.other_events().partitions());
}

TEMPLATE_LIST_TEST_CASE("what is appended is read as it was", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const stream = key(std::string("s\0\xff", 3));
    NewEvent given;
    given.id = "order-17";
    given.type = "A.TYPE_with-all.9";
    given.version = 7;
    for (int byte = 0; byte < 256; ++byte)
        given.data += static_cast<char>(byte);
    given.because = {"conversation", "request \xc3\xa9", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b-01"};
    NewEvent bare;
    bare.type = "bare";
    auto const appended = events.append(stream, Expected::none(), std::array{given, bare}, soon).value();
    CHECK(appended.number == 2);
    CHECK_FALSE(appended.duplicate);
    auto const read = backend.other_events().read_stream(stream, 0, 10, soon).value();
    REQUIRE(read.size() == 2);
    CHECK(read[0].id == given.id);
    CHECK(read[0].stream == stream);
    CHECK(read[0].number == 1);
    CHECK(read[0].partition == partition_of(stream.bytes(), events.partitions()));
    CHECK(read[0].type == given.type);
    CHECK(read[0].version == 7);
    CHECK(read[0].data == given.data);
    CHECK(read[0].because == given.because);
    CHECK(read[0].writer == "contract");
    CHECK(read[1].id.size() == 32);
    CHECK(read[1].data.empty());
    CHECK(read[1].because == Cause{});
    CHECK(read[1].number == 2);
    CHECK(read[1].position > read[0].position);
    CHECK(read[1].position == appended.position);
    // The store's clock is this machine's, if the store has a clock.
    auto const now = std::chrono::system_clock::now();
    for (auto const& event : read)
        CHECK(
            (event.recorded_at.time_since_epoch().count() == 0 ||
             (event.recorded_at > now - 1h && event.recorded_at < now + 1h)));
    auto const page = events.read(read[0].partition, 0, 10, soon).value();
    REQUIRE(page.events.size() == 2);
    CHECK(page.events[0].id == given.id);
    CHECK(page.events[0].data == given.data);
    CHECK(page.events[0].stream == stream);
    CHECK(page.events[1].id == read[1].id);
    CHECK(events.read_stream(key("another"), 0, 10, soon).value().empty());
}

TEMPLATE_LIST_TEST_CASE(
    "the events of a stream are numbered in one partition, in the order of their positions",
    "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    for (int i = 0; i < 20; ++i)
        for (auto const* name : {"a", "b", "c", "d", "e", "f", "g"})
            static_cast<void>((i % 2 == 0 ? events : backend.other_events())
                                  .append(key(name), Expected::exactly(i), sold({i}), soon)
                                  .value());
    auto const all = everything(events);
    CHECK(all.size() == 140);
    std::map<std::string, std::int64_t> last;
    std::set<std::pair<unsigned, Position>> places;
    for (Event const& event : all) {
        CHECK(event.number == ++last[std::string(event.stream.bytes())]);
        CHECK(event.partition == partition_of(event.stream.bytes(), events.partitions()));
        CHECK(event.as<Sold>().value().quantity == event.number - 1);
        CHECK(places.emplace(event.partition, event.position).second);
    }
    CHECK(last.size() == 7);
}

TEMPLATE_LIST_TEST_CASE("a read goes on where the last one ended", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    auto const p = partition_of(x.bytes(), events.partitions());
    auto const none = events.read(p, 0, 10, soon).value();
    CHECK(none.events.empty());
    CHECK(none.next == 0);
    CHECK_FALSE(none.more);
    CHECK_FALSE(none.trimmed);
    static_cast<void>(events.append(x, Expected::any(), sold({1, 2, 3, 4, 5}), soon).value());
    auto const first = events.read(p, 0, 2, soon).value();
    REQUIRE(first.events.size() == 2);
    CHECK(first.more);
    CHECK(first.next == first.events[1].position);
    auto const second = events.read(p, first.next, 2, soon).value();
    REQUIRE(second.events.size() == 2);
    CHECK(second.events[0].number == 3);
    CHECK(second.more);
    auto const third = events.read(p, second.next, 2, soon).value();
    REQUIRE(third.events.size() == 1);
    CHECK(third.events[0].number == 5);
    CHECK_FALSE(third.more);
    CHECK(third.next >= third.events[0].position);
    auto const end = events.read(p, third.next, 2, soon).value();
    CHECK(end.events.empty());
    CHECK_FALSE(end.more);
    CHECK(end.next >= third.next);
    auto const behind = events.read_stream(x, 3, 1, soon).value();
    REQUIRE(behind.size() == 1);
    CHECK(behind[0].number == 4);
    CHECK(events.read_stream(x, 5, 10, soon).value().empty());
}

TEMPLATE_LIST_TEST_CASE(
    "a reader that goes on at `next` misses nothing while others append", "[contract][events]", EventBackends)
{
    TestType const backend;
    constexpr int writers = 4;
    constexpr int each = 50;
    std::atomic<int> writing{writers};
    std::atomic<int> failed{0};
    std::vector<std::string> wrong;
    run_threads(writers + 1, [&](std::size_t i) {
        if (i == writers) {
            auto const events = backend.other_events();
            std::vector<Position> next(events.partitions(), 0);
            std::map<std::string, std::int64_t> numbers;
            std::size_t seen = 0;
            for (bool last = false;; last = writing == 0) {
                for (unsigned p = 0; p < events.partitions(); ++p)
                    for (bool more = true; more;) {
                        auto const page = events.read(p, next[p], 7, soon).value();
                        for (auto const& event : page.events) {
                            auto& number = numbers[std::string(event.stream.bytes())];
                            if (event.number != number + 1)
                                wrong.push_back(std::string(event.stream.bytes()));
                            if (event.position <= next[p])
                                wrong.push_back("position");
                            number = event.number;
                            next[p] = event.position;
                            ++seen;
                        }
                        next[p] = page.next;
                        more = page.more;
                    }
                if (last)
                    break;
            }
            if (seen != std::size_t{writers} * each)
                wrong.push_back("count " + std::to_string(seen));
            return;
        }
        auto const events = i % 2 == 0 ? backend.events() : backend.other_events();
        for (int n = 0; n < each; ++n)
            failed +=
                events.append(key("s" + std::to_string(n % 3)), Expected::any(), sold({n}), soon) ? 0 : 1;
        --writing;
    });
    CHECK(failed == 0);
    CHECK(wrong == std::vector<std::string>{});
}

// ---- append -------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "an append that expects another number stores nothing", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    CHECK(events.append(x, Expected::exactly(1), sold({9}), soon).errc() == Errc::version_conflict);
    CHECK(events.append(x, Expected::none(), sold({1, 2}), soon).value().number == 2);
    CHECK(events.append(x, Expected::none(), sold({9}), soon).errc() == Errc::version_conflict);
    auto const refused = events.append(x, Expected::exactly(1), sold({9}), soon);
    CHECK(refused.errc() == Errc::version_conflict);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("2"));
    CHECK(events.append(x, Expected::exactly(3), sold({9}), soon).errc() == Errc::version_conflict);
    CHECK(events.append(x, Expected::exactly(2), sold({3}), soon).value().number == 3);
    CHECK(events.append(x, Expected::any(), sold({4}), soon).value().number == 4);
    CHECK(quantities(events.read_stream(x, 0, 10, soon).value()) == std::vector{1, 2, 3, 4});
}

TEMPLATE_LIST_TEST_CASE(
    "of several appends that expect one number exactly one is applied", "[contract][events]", EventBackends)
{
    TestType const backend;
    for (int round = 0; round < 5; ++round) {
        std::atomic<int> won{0};
        std::atomic<int> conflicts{0};
        run_threads(4, [&](std::size_t i) {
            auto const events = i % 2 == 0 ? backend.events() : backend.other_events();
            auto const appended = events.append(key("x"), Expected::exactly(round), sold({round}), soon);
            won += appended ? 1 : 0;
            conflicts += appended.errc() == Errc::version_conflict ? 1 : 0;
        });
        CHECK(won == 1);
        CHECK(conflicts == 3);
    }
    CHECK(
        quantities(backend.events().read_stream(key("x"), 0, 10, soon).value()) ==
        std::vector{0, 1, 2, 3, 4});
}

TEMPLATE_LIST_TEST_CASE("an append with an id is applied once", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    OperationId const id{std::string("op\0x", 4)};
    auto const first = events.append(id, x, Expected::none(), sold({1, 2}), soon).value();
    static_cast<void>(events.append(x, Expected::any(), sold({3}), soon).value());
    auto const again = backend.other_events().append(id, x, Expected::none(), sold({1, 2}), soon).value();
    CHECK(again.duplicate);
    CHECK(again.number == first.number);
    CHECK(again.position == first.position);
    // An id belongs to its stream, as that of an operation belongs to its key.
    CHECK_FALSE(events.append(id, key("y"), Expected::none(), sold({9}), soon).value().duplicate);
    // What was refused was not applied: the id is free.
    OperationId const refused{"refused"};
    CHECK(events.append(refused, x, Expected::none(), sold({4}), soon).errc() == Errc::version_conflict);
    CHECK_FALSE(events.append(refused, x, Expected::exactly(3), sold({4}), soon).value().duplicate);
    std::atomic<int> fresh{0};
    std::atomic<int> repeated{0};
    run_threads(4, [&](std::size_t i) {
        auto const handle = i % 2 == 0 ? backend.events() : backend.other_events();
        auto const appended = handle.append(OperationId{"all"}, x, Expected::any(), sold({5}), soon);
        fresh += appended && !appended->duplicate ? 1 : 0;
        repeated += appended && appended->duplicate ? 1 : 0;
    });
    CHECK(fresh == 1);
    CHECK(repeated == 3);
    CHECK(quantities(events.read_stream(x, 0, 10, soon).value()) == std::vector{1, 2, 3, 4, 5});
}

TEMPLATE_LIST_TEST_CASE(
    "the stream and the id of an append are told apart, whatever bytes they have", "[contract][events]",
    EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    std::vector<std::pair<std::string, std::string>> const pairs{
        {std::string("a"), std::string("b\0c", 3)}, {std::string("a\0b", 3), std::string("c")},
        {std::string("1:a"), std::string("b")},     {std::string("1:ab"), std::string("1:")},
        {std::string("a"), std::string("b:c")},     {std::string("a:b"), std::string("c")}};
    for (auto const& [stream, id] : pairs) {
        auto const done = events.append(OperationId{id}, key(stream), Expected::any(), sold({1}), soon);
        REQUIRE(done);
        CHECK_FALSE(done->duplicate);
        CHECK(events.append(OperationId{id}, key(stream), Expected::any(), sold({1}), soon)->duplicate);
    }
    CHECK(everything(events).size() == pairs.size());
}

TEMPLATE_LIST_TEST_CASE("an append without events does nothing", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    std::vector<NewEvent> const nothing;
    CHECK(events.append(x, Expected::any(), nothing, soon).value().number == 0);
    static_cast<void>(events.append(x, Expected::none(), sold({1}), soon).value());
    auto const appended = events.append(OperationId{"op"}, x, Expected::any(), nothing, soon).value();
    CHECK_FALSE(appended.duplicate);
    CHECK(appended.number == 1);
    CHECK(everything(events).size() == 1);
    CHECK(events.append(x, Expected::exactly(1), sold({2}), soon).value().number == 2);
}

TEMPLATE_LIST_TEST_CASE(
    "what no log can hold is refused, and nothing of it is stored", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    auto const refused = [&](NewEvent const& bad) {
        auto const outcome =
            events.append(x, Expected::any(), std::array{new_event(Sold{"x", 9}), bad}, soon);
        return outcome.errc() == Errc::invalid_argument && !outcome.detail().empty();
    };
    NewEvent good = new_event(Sold{"x", 1});
    for (auto const* name : {"", "Sold/out", "sold out", "verk\xc3\xa4uft", "sold\n"}) {
        auto bad = good;
        bad.type = name;
        CHECK(refused(bad));
    }
    auto bad = good;
    bad.type = std::string(129, 'a');
    CHECK(refused(bad));
    bad = good;
    bad.version = 0;
    CHECK(refused(bad));
    bad = good;
    bad.data = std::string(max_event_bytes + 1, 'x');
    CHECK(refused(bad));
    bad = good;
    bad.because.cause = std::string(max_event_bytes - bad.data.size() + 1, 'x');
    CHECK(refused(bad));
    bad = good;
    bad.id = std::string(max_event_id_bytes + 1, 'x');
    CHECK(refused(bad));
    std::vector<NewEvent> const many(max_events_of_commit + 1, good);
    CHECK(events.append(x, Expected::any(), many, soon).errc() == Errc::invalid_argument);
    std::array const one{good};
    CHECK(events.append(key(""), Expected::any(), one, soon).errc() == Errc::invalid_argument);
    CHECK(
        events.append(key(std::string(513, 'a')), Expected::any(), one, soon).errc() ==
        Errc::invalid_argument);
    CHECK(events.append(x, Expected::exactly(-7), one, soon).errc() == Errc::invalid_argument);
    CHECK(events.append(OperationId{""}, x, Expected::any(), one, soon).errc() == Errc::invalid_argument);
    CHECK(everything(events).empty());
    // The largest ones are stored.
    auto large = good;
    large.type = std::string(128, 'a');
    large.data = std::string(max_event_bytes, 'x');
    large.id = std::string(max_event_id_bytes, 'i');
    CHECK(events.append(x, Expected::any(), std::array{large}, soon).value().number == 1);
    std::vector<NewEvent> const full(max_events_of_commit, good);
    CHECK(events.append(x, Expected::any(), full, soon).value().number == 1001);
    CHECK(events.read_stream(x, 0, 1, soon).value().at(0).data == large.data);
    CHECK(events.read_stream(x, 1, 2000, soon).value().size() == max_events_of_commit);
}

TEMPLATE_LIST_TEST_CASE("a read that makes no sense is refused in words", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const refused = [](auto const& outcome, Errc code) {
        return outcome.errc() == code && !outcome.detail().empty();
    };
    CHECK(refused(events.read(events.partitions(), 0, 1, soon), Errc::invalid_argument));
    CHECK(refused(events.read(0, -1, 1, soon), Errc::invalid_argument));
    CHECK(refused(events.read(0, 0, 0, soon), Errc::invalid_argument));
    CHECK(refused(events.read_stream(key(""), 0, 1, soon), Errc::invalid_argument));
    CHECK(refused(events.read_stream(key("x"), -1, 1, soon), Errc::invalid_argument));
    CHECK(refused(events.read_stream(key("x"), 0, 0, soon), Errc::invalid_argument));
    CHECK(refused(events.extent(events.partitions(), soon), Errc::invalid_argument));
    CHECK(refused(events.trim(events.partitions(), 1, soon), Errc::invalid_argument));
    CHECK(refused(events.trim(0, -1, soon), Errc::invalid_argument));
    CHECK(refused(events.note_consumer("", 0, 0, soon), Errc::invalid_argument));
    CHECK(refused(events.note_consumer(std::string(256, 'c'), 0, 0, soon), Errc::invalid_argument));
    CHECK(refused(events.note_consumer("c", events.partitions(), 0, soon), Errc::invalid_argument));
    // The place of another log, or of one that was restored from a backup.
    static_cast<void>(events.append(key("x"), Expected::any(), sold({1}), soon).value());
    CHECK(refused(
        events.read(partition_of("x", events.partitions()), beyond_all, 1, soon), Errc::corrupt_state));
    CHECK(refused(events.note_consumer("c", 0, beyond_all, soon), Errc::corrupt_state));
    for (std::size_t const size : {std::size_t{0}, std::size_t{256}}) {
        CHECK(refused(events.note_consumer(std::string(size, 'c'), 0, 0, soon), Errc::invalid_argument));
        CHECK(refused(events.forget_consumer(std::string(size, 'c'), soon), Errc::invalid_argument));
    }
    Deadline const no_number{std::chrono::duration<double>(NAN)};
    CHECK(events.read(0, 0, 1, no_number).errc() == Errc::invalid_argument);
    CHECK(events.append(key("x"), Expected::any(), sold({2}), no_number).errc() == Errc::invalid_argument);
    CHECK(everything(events).size() == 1);
}

// ---- what is kept -------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "a trim leaves what a known consumer has not read", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    auto const p = partition_of(x.bytes(), events.partitions());
    CHECK(events.extent(p, soon).value().first == 0);
    CHECK(events.extent(p, soon).value().last == 0);
    CHECK(events.trim(p, 0, soon).value() == 0);
    // What comes later is not trimmed with what there is: nothing.
    CHECK(events.trim(p, INT64_MAX, soon).value() == 0);
    static_cast<void>(events.append(x, Expected::any(), sold({1, 2, 3, 4, 5, 6}), soon).value());
    auto const all = events.read_stream(x, 0, 10, soon).value();
    auto const place = [&](int number) { return all.at(static_cast<std::size_t>(number - 1)).position; };
    CHECK(events.extent(p, soon).value().first == place(1));
    CHECK(events.extent(p, soon).value().last == place(6));
    CHECK(events.note_consumer("quick", p, place(4), soon));
    CHECK(events.note_consumer("slow", p, place(1), soon));
    CHECK(backend.other_events().note_consumer("slow", p, place(2), soon));
    CHECK(events.note_consumer("slow", p, place(1), soon));  // below the remembered one: changes nothing
    auto const kept_from = [&](int number) {
        auto const trimmed = events.trim(p, place(6), soon).value();
        auto const page = events.read(p, 0, 10, soon).value();
        auto const stream = events.read_stream(x, 0, 10, soon).value();
        return trimmed >= place(number - 1) && trimmed < place(number) && page.trimmed &&
               page.events.front().number == number && page.events.back().number == 6 &&
               stream.front().number == number && stream.back().number == 6 &&
               events.extent(p, soon).value().first == place(number) &&
               events.extent(p, soon).value().last == place(6);
    };
    CHECK(kept_from(3));
    // Of one that goes back what is kept stays.
    CHECK(events.note_consumer("slow", p, place(4), soon));
    CHECK(events.note_consumer_again("slow", p, place(2), soon));
    CHECK(kept_from(3));
    CHECK_FALSE(events.read(p, place(2), 10, soon).value().trimmed);
    CHECK(events.read(p, place(1), 10, soon).value().trimmed);
    CHECK(events.forget_consumer("slow", soon));
    CHECK(events.forget_consumer("slow", soon));
    CHECK(kept_from(5));
    CHECK(events.forget_consumer("quick", soon));
    CHECK(events.trim(p, place(5), soon).value() >= place(5));
    CHECK(events.read(p, 0, 10, soon).value().events.size() == 1);
}

TEMPLATE_LIST_TEST_CASE(
    "numbers and positions go on behind what was trimmed", "[contract][events]", EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    auto const p = partition_of(x.bytes(), events.partitions());
    auto const before = events.append(x, Expected::any(), sold({1, 2}), soon).value();
    CHECK(events.trim(p, before.position, soon).value() >= before.position);
    auto const empty = events.extent(p, soon).value();
    CHECK(empty.first == 0);
    CHECK(empty.last == before.position);
    auto const page = events.read(p, 0, 10, soon).value();
    CHECK(page.events.empty());
    CHECK(page.trimmed);
    CHECK(page.next >= before.position);
    CHECK_FALSE(events.read(p, before.position, 10, soon).value().trimmed);
    CHECK(events.append(x, Expected::none(), sold({9}), soon).errc() == Errc::version_conflict);
    CHECK(events.trim(p, INT64_MAX, soon).value() == before.position);
    auto const after = events.append(x, Expected::exactly(2), sold({3}), soon).value();
    CHECK(after.number == 3);
    CHECK(after.position > before.position);
    CHECK(events.read(p, page.next, 10, soon).value().events.at(0).number == 3);
    // Another partition, or another stream, has lost nothing.
    CHECK(events.note_consumer("c", p, before.position, soon));
    CHECK(events.trim(p, after.position, soon).value() < after.position);
}

// ---- readers that wait --------------------------------------------------------------------------

template <class... B>
auto that_wake(std::tuple<B...>) -> decltype(std::tuple_cat(
    std::declval<std::conditional_t<
        SubscribableEvents<decltype(std::declval<B const&>().events())>, std::tuple<B>, std::tuple<>>>()...));
using WakingBackends = decltype(that_wake(std::declval<EventBackends>()));

struct CountingWaiter final : Waiter {
    std::atomic<int> woken{0};
    void wake() noexcept override { ++woken; }
};

TEMPLATE_LIST_TEST_CASE(
    "readers are woken when there is more, until they say so", "[contract][events]", WakingBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    auto const p = partition_of(x.bytes(), events.partitions());
    CountingWaiter one;
    CountingWaiter two;
    events.subscribe(p, one);
    events.subscribe(p, two);
    // A hint may be lost while the subscription is being made: so append until there is one.
    CHECK(eventually([&] {
        static_cast<void>(backend.other_events().append(x, Expected::any(), sold({1}), soon).value());
        return one.woken > 0 && two.woken > 0;
    }));
    events.unsubscribe(p, two);
    int const two_before = two.woken;
    int const one_before = one.woken;
    auto const repository = backend.repository();
    auto const fact = new_event(Sold{"x", 2});
    auto given = fact;
    given.id = "by a commit";
    Stock const value{"x", 1};
    std::array changes{Change<Stock>{.key = &x, .value = &value, .events = std::span(&given, 1)}};
    CHECK(repository.commit(changes, nullptr, soon));
    CHECK(eventually([&] { return one.woken > one_before; }));
    CHECK(two.woken == two_before);
    events.unsubscribe(p, one);
    int const end = one.woken;
    static_cast<void>(events.append(x, Expected::any(), sold({3}), soon).value());
    CHECK(one.woken == end);
}

// ---- asynchronous callers -----------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE(
    "what a log does for a caller that blocks it does for one that does not", "[contract][events]",
    EventBackends)
{
    TestType const backend;
    auto const events = backend.events();
    auto const x = key("x");
    auto const p = partition_of(x.bytes(), events.partitions());
    auto const wait = [](auto future) { return future.get(); };
    auto const& token = boost::asio::use_future;
    auto const two = sold({1, 2});
    auto const appended = wait(events.async_append(x, Expected::none(), two, soon, token)).value();
    CHECK(appended.number == 2);
    CHECK(wait(events.async_append(x, Expected::none(), two, soon, token)).errc() == Errc::version_conflict);
    OperationId const id{"op"};
    auto const three = sold({3});
    CHECK(wait(events.async_append(id, x, Expected::exactly(2), three, soon, token)).value().number == 3);
    CHECK(wait(events.async_append(id, x, Expected::exactly(2), three, soon, token)).value().duplicate);
    CHECK(quantities(wait(events.async_read(p, 0, 10, soon, token)).value().events) == std::vector{1, 2, 3});
    CHECK(quantities(wait(events.async_read_stream(x, 1, 1, soon, token)).value()) == std::vector{2});
    CHECK(wait(events.async_extent(p, soon, token)).value().last == events.extent(p, soon).value().last);
    CHECK(wait(events.async_read(p, beyond_all, 1, soon, token)).errc() == Errc::corrupt_state);
    CHECK(wait(events.async_read_stream(key(""), 0, 1, soon, token)).errc() == Errc::invalid_argument);
    Deadline const no_number{std::chrono::duration<double>(NAN)};
    CHECK(wait(events.async_read(p, 0, 1, no_number, token)).errc() == Errc::invalid_argument);
}

// ---- RecordingRepository ------------------------------------------------------------------------

/// A commit with events, as a policy makes it.
struct Recorded {
    std::vector<NewEvent> events;
    explicit Recorded(std::vector<int> const& quantities) : events(sold(quantities))
    {
        for (auto& event : events)
            event.id = "event " + std::to_string(++count);
    }
    static inline std::atomic<int> count{0};
};

TEMPLATE_LIST_TEST_CASE(
    "events are there when, and only when, their commit was applied", "[contract][events][recording]",
    EventBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const events = backend.events();
    static_assert(RecordingRepository<std::remove_cvref_t<decltype(repository)>>);
    auto const a = key("a");
    auto const b = key("b");
    Stock const value{"v", 1};
    Recorded const of_a{{1, 2}};
    Recorded const of_b{{3}};
    std::array changes{
        Change<Stock>{.key = &a, .value = &value, .events = of_a.events},
        Change<Stock>{.key = &b, .value = &value, .events = of_b.events}};
    REQUIRE(repository.commit(changes, nullptr, soon));
    CHECK(quantities(events.read_stream(a, 0, 10, soon).value()) == std::vector{1, 2});
    CHECK(quantities(events.read_stream(b, 0, 10, soon).value()) == std::vector{3});
    CHECK(events.read_stream(a, 0, 1, soon).value().at(0).id == of_a.events[0].id);
    CHECK(events.read_stream(a, 0, 1, soon).value().at(0).writer == "contract");
    // One of two versions has moved: neither change is made, and nothing has happened.
    Recorded const lost{{9}};
    std::array stale{
        Change<Stock>{.key = &a, .version = changes[0].version, .value = &value, .events = lost.events},
        Change<Stock>{
            .key = &b, .version = changes[1].version + 1000, .value = &value, .events = lost.events}};
    CHECK(repository.commit(stale, nullptr, soon).errc() == Errc::version_conflict);
    CHECK(everything(events).size() == 3);
    // A change that changes nothing, and one that removes the state, may have events, too.
    Recorded const looked{{4}};
    std::array verify{Change<Stock>{
        .key = &a, .kind = ChangeKind::verify, .version = changes[0].version, .events = looked.events}};
    CHECK(repository.commit(verify, nullptr, soon));
    Recorded const gone{{5}};
    std::array erase{Change<Stock>{
        .key = &a, .kind = ChangeKind::erase, .version = changes[0].version, .events = gone.events}};
    CHECK(repository.commit(erase, nullptr, soon));
    CHECK(repository.commit(erase, nullptr, soon).errc() == Errc::not_found);
    CHECK(quantities(events.read_stream(a, 0, 10, soon).value()) == std::vector{1, 2, 4, 5});
    // An append and a commit count in one row.
    static_cast<void>(events.append(a, Expected::exactly(4), sold({6}), soon).value());
    Recorded const again{{7}};
    std::array insert{Change<Stock>{.key = &a, .value = &value, .events = again.events}};
    CHECK(repository.commit(insert, nullptr, soon));
    auto const all = events.read_stream(a, 0, 10, soon).value();
    CHECK(quantities(all) == std::vector{1, 2, 4, 5, 6, 7});
    for (std::size_t i = 0; i < all.size(); ++i)
        CHECK(all[i].number == static_cast<std::int64_t>(i) + 1);
}

TEMPLATE_LIST_TEST_CASE(
    "a commit that is a duplicate appends no events", "[contract][events][recording]", EventBackends)
{
    TestType const backend;
    auto const repository = backend.repository();
    auto const x = key("x");
    OperationId const id{"op"};
    Stock const value{"x", 1};
    OperationCommit operation{&x, &id, 1, "answer"};
    Recorded const first{{1}};
    Recorded const second{{2}};
    CHECK(repository.forbid_operation(x, id, 1, soon));
    std::array changes{Change<Stock>{.key = &x, .value = &value, .events = first.events}};
    CHECK(repository.commit(changes, &operation, soon).errc() == Errc::superseded);
    CHECK(everything(backend.events()).empty());
    operation.attempt = 2;
    CHECK_FALSE(repository.commit(changes, &operation, soon).value().duplicate);
    std::array again{Change<Stock>{.key = &x, .version = 1, .value = &value, .events = second.events}};
    CHECK(repository.commit(again, &operation, soon).value().duplicate);
    CHECK(quantities(everything(backend.events())) == std::vector{1});
}

TEMPLATE_LIST_TEST_CASE(
    "events for a repository without a log are misconfigured, and nothing is written",
    "[contract][events][recording]", EventBackends)
{
    TestType const backend;
    auto const repository = backend.without_events();
    auto const x = key("x");
    Stock const value{"x", 1};
    Recorded const recorded{{1}};
    std::array changes{Change<Stock>{.key = &x, .value = &value, .events = recorded.events}};
    auto const refused = repository.commit(changes, nullptr, soon);
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("events"));
    CHECK(repository.load(x, soon).errc() == Errc::not_found);
    CHECK(everything(backend.events()).empty());
}

}  // namespace
}  // namespace contract::event_repository

#endif  // INTERLOCK_TESTS_CONTRACT_EVENTS
