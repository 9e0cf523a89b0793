// SPDX-License-Identifier: BSL-1.0

// Every order of what can happen to a subscription: reads, writes and handlers end in every order, well or
// badly, or nobody learns how; the lease is lost and another reader goes on; somebody asks for a parked
// stream, or moves the cursor; the partition is handed over; the run is stopped.
//
// How it works: the explorer plays the log, the store of the cursor, the handler and the other reader. It
// knows which events were handled, which the cursor can only claim. Whenever a cursor is stored, its claim is
// compared with that.

#include <interlock/patterns/detail/subscription_machine.hpp>

#include "support/catch.hpp"
#include "support/explorer.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What makes a difference from here on, as text. Times count from now.
struct SubscriptionView {
    static std::string mark(SubscriptionMachine const& m, TimePoint now)
    {
        std::string text;
        auto const add = [&text](auto n) { text += std::to_string(n) + ' '; };
        auto const until = [&](TimePoint at) {
            add(at == TimePoint::max() ? -1 : at <= now ? 0 : (at - now).count());
        };
        for (bool const b :
             {m.lease_, m.ends_, m.moved_, m.last_look_, m.last_write_, m.last_note_, m.reading_, m.looking_,
              m.writing_, m.noting_, m.look_, m.urgent_, m.caught_up_, m.read_again_, m.failure_.has_value(),
              m.hands_over_, m.window_.ended_before(m.begun_)})
            text += b ? '1' : '0';
        add(static_cast<int>(m.phase_));
        for (std::int64_t const n :
             {m.version_, m.done_, m.written_, m.attempted_.value_or(-1), m.writing_position_, m.may_trim_,
              m.noted_, m.read_})
            add(n);
        add(m.change_ - m.written_change_);
        add(m.change_ - m.writing_change_);
        add(m.done_since_write_);
        add(m.troubles_);
        for (auto const at :
             {m.try_at_, m.write_at_, m.not_before_, m.look_at_, m.note_at_, m.read_at_, m.hand_over_at_})
            until(at);
        for (auto const& [ticket, running] : m.running_)
            text += running.stream + (running.replay ? "r" : "d") + std::to_string(running.event) + ' ';
        window(m.window_, now, text);
        for (auto const& [name, p] : m.parked_) {
            text += '|' + name + (p.record.resume ? 'r' : '-') + (p.reading ? 'r' : '-') +
                    (p.running ? 'r' : '-') + (p.covered ? 'c' : '-');
            for (std::int64_t const n :
                 {p.record.number, p.record.attempts, p.skipped_to, p.as_of, std::int64_t{p.tries},
                  std::int64_t{p.failures}, static_cast<std::int64_t>(p.events.size())})
                add(n);
            until(p.not_before);
        }
        return text;
    }

private:
    static void window(EventWindow const& w, TimePoint now, std::string& text)
    {
        for (auto const& entry : w.entries_)
            text += std::to_string(entry.position) + (entry.ended ? 'e' : 'w');
        std::set<std::string> lines;  // in an order of their own
        for (auto const& [name, line] : w.lines_)
            lines.insert(
                name + std::to_string(line.tries) + ',' + std::to_string(line.failures) + ',' +
                std::to_string(line.entries.size()));
        for (auto const& line : lines)
            text += line + ' ';
        for (auto const number : w.free_)
            text += 'f' + std::to_string(number - w.first_);
        for (auto const& [at, number] : w.later_)
            text += 'l' + std::to_string(number - w.first_) + '@' + std::to_string((at - now).count());
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

namespace {
namespace subscription {

using namespace std::chrono_literals;
using interlock::Cursor;
using interlock::Errc;
using interlock::Event;
using interlock::EventPage;
using interlock::Failure;
using interlock::Key;
using interlock::Outcome;
using interlock::Parked;
using interlock::Position;
using interlock::TimePoint;
using interlock::Version;
using interlock::Versioned;
using interlock::detail::Attempt;
using interlock::detail::NewestEvent;
using interlock::detail::SubscriptionMachine;
using interlock::detail::SubscriptionTerms;
using interlock::detail::SubscriptionView;
using Kind = SubscriptionMachine::Action::Kind;
using Notice = interlock::detail::SubscriptionNotice::Kind;

constexpr std::uint64_t late = ~std::uint64_t{0};  // the longest delay of each backoff
constexpr std::size_t side_by_side = 2;

SubscriptionTerms terms()
{
    SubscriptionTerms t;
    t.id = "c/0";
    t.batch = 2;
    t.window = 4;
    t.attempts = 2;
    t.backoff = {.initial = 1ns, .cap = 1ns, .immediate = 0};
    t.trouble = {.initial = 1ns, .cap = 1ns, .immediate = 0};
    t.max_parked = 2;
    t.cursor_every = 1ns;
    t.poll_least = t.poll_most = 1ns;
    t.lease_poll = t.look_every = t.note_every = 1ns;
    t.hand_over = 2ns;
    return t;
}

/// The log: streams a and b.
Event event_at(Position position)
{
    static constexpr std::array<std::pair<char, int>, 6> all{
        {{'a', 1}, {'b', 1}, {'a', 2}, {'a', 3}, {'b', 2}, {'a', 4}}};
    auto const [stream, number] = all[static_cast<std::size_t>(position - 1)];
    Event event;
    event.stream = Key{std::string(1, stream)};
    event.number = number;
    event.position = position;
    return event;
}

enum class Holder : unsigned char { nobody, us, other };

/// An action that is under way.
struct Pending {
    SubscriptionMachine::Action action;
    Position position;  // of the event that is handled
    std::string text() const
    {
        return std::to_string(static_cast<int>(action.kind)) + ':' + std::to_string(action.after) +
               std::string(action.stream.bytes()) + std::to_string(position) + 'v' +
               std::to_string(action.version) + '@' + std::to_string(action.cursor.position) +
               std::to_string(action.cursor.parked.size());
    }
};

struct World {
    SubscriptionMachine machine{terms()};
    TimePoint now{1h};
    TimePoint until{TimePoint::max()};
    Position last{4};  // of the log
    std::set<Position> handled{};
    std::optional<Versioned<Cursor>> stored{};
    Version versions{0};
    Holder holder{Holder::nobody};
    std::vector<Pending> pending{};
    int lost_leases{0};
    int asked{0};    // how often somebody asked for a parked stream
    int resumed{0};  // how many streams a reader that runs was asked for
    int heard{0};    // how many of those it says it has heard of
    int failed{0};   // attempts and store calls
    int handed_over{0};
    bool ended{false};

    std::string mark() const
    {
        auto text = SubscriptionView::mark(machine, now) + '#';
        for (auto const position : handled)
            text += std::to_string(position) + ',';
        text += '#' + std::to_string(last) + (ended ? 'e' : '-') + std::to_string(static_cast<int>(holder)) +
                std::to_string(lost_leases) + std::to_string(asked) + std::to_string(resumed) +
                std::to_string(heard) + std::to_string(failed) + std::to_string(handed_over) + '#';
        if (stored) {
            text += std::to_string(stored->version) + '@' + std::to_string(stored->value.position);
            for (auto const& parked : stored->value.parked)
                text += parked.stream + std::to_string(parked.number) + '/' +
                        std::to_string(parked.attempts) + (parked.resume ? 'r' : '-');
        }
        for (auto const& p : pending)
            text += '#' + p.text();
        return text;
    }
};

class Explorer : public interlock_test::Findings {
public:
    interlock_test::Worlds<World, std::string> worlds;
    std::uint64_t ends{0};
    std::uint64_t stored_cursors{0};
    std::uint64_t parked_cursors{0};
    std::uint64_t refused_writes{0};
    std::uint64_t handed_over{0};  // without a doubt about what was handled

    void meet(World world)
    {
        settle(world);
        auto mark = world.mark();
        worlds.meet(world, std::move(mark));
    }

    /// Everything that can happen next.
    void step(World const& world)
    {
        if (world.ended)
            return;
        for (std::size_t i = 0; i < world.pending.size(); ++i)
            end(world, i);
        if (world.last < 6) {
            World w = world;
            ++w.last;
            w.machine.woken(w.now);
            meet(std::move(w));
        }
        if (world.until != TimePoint::max() && world.until > world.now) {
            World w = world;
            w.now = w.until;
            meet(std::move(w));
        }
        if (world.holder == Holder::us && world.lost_leases < 1)
            lose(world);
        if (world.stored && world.asked < 1)
            ask(world);
        if (world.machine.holds_lease() && world.handed_over < 1) {
            World w = world;
            ++w.handed_over;
            w.machine.hand_over(w.now);
            meet(std::move(w));
        }
        if (!world.machine.stopping()) {
            World w = world;
            w.machine.stop();
            meet(std::move(w));
        }
    }

    /// From here on nothing goes wrong any more: everything is handled, and the cursor says so.
    void finish(World world)
    {
        if (world.ended || world.machine.stopping())
            return;
        for (int i = 0; i < 400; ++i) {
            if (complete(world))
                return;
            if (world.holder == Holder::other)
                world.holder = Holder::nobody;
            if (world.stored)
                if (resume(world))
                    world.stored->version = ++world.versions;
            if (!world.pending.empty()) {
                auto const first = world.pending.front();
                world.pending.erase(world.pending.begin());
                answer(world, first, Errc::ok);
            } else {
                expect(world.until != TimePoint::max(), "it waits for nothing, for ever");
                world.now = std::max(world.now, world.until);
            }
            settle(world);
            expect(!world.ended, "it ended by itself");
        }
        expect(complete(world), "it does not come to an end though nothing goes wrong any more");
    }

private:
    static bool complete(World const& world)
    {
        return world.handled.size() == static_cast<std::size_t>(world.last) && world.stored &&
               world.stored->value.position == world.last && world.stored->value.parked.empty();
    }

    /// What an event needs before it may be delivered: all of its stream before it was handled.
    static bool in_turn(World const& world, Event const& event)
    {
        for (Position p = 1; p < event.position; ++p)
            if (event_at(p).stream == event.stream && !world.handled.contains(p))
                return false;
        return true;
    }

    /// The machine is asked until it has nothing more to do.
    void settle(World& world)
    {
        for (int i = 0;; ++i) {
            expect(i < 50, "it is never done asking");
            if (i >= 50)
                return;
            auto action = world.machine.next(world.now, world.machine.running() < side_by_side);
            for (auto const& notice : world.machine.take_notices())
                world.heard += notice.kind == Notice::resumed ? 1 : 0;
            expect(world.heard <= world.resumed, "a stream goes on that nobody has asked for");
            if (action.kind == Kind::end) {
                expect(world.pending.empty(), "it ended, and something is under way");
                ++ends;
                world.ended = true;
                return;
            }
            if (action.kind == Kind::wait) {
                if (action.until <= world.now)
                    continue;
                world.until = action.until;
                expect(
                    !world.pending.empty() || action.until != TimePoint::max(),
                    "it waits for nothing, for ever");
                return;
            }
            begun(world, std::move(action));
        }
    }

    void begun(World& world, SubscriptionMachine::Action action)
    {
        Position position = 0;
        if (action.kind == Kind::acquire || action.kind == Kind::release)
            expect(world.pending.empty(), "a lease begins or ends while something is under way");
        else
            expect(
                world.machine.holds_lease() || action.kind == Kind::write || action.kind == Kind::look ||
                    action.kind == Kind::note,
                "it reads or delivers without a lease");
        if (action.kind == Kind::deliver) {
            position = action.event->position;
            expect(action.event->number == event_at(position).number, "another event than in the log");
            expect(
                in_turn(world, *action.event), "an event is delivered before the one before it was handled");
            for (auto const& p : world.pending)
                expect(
                    p.action.kind != Kind::deliver || event_at(p.position).stream != action.event->stream,
                    "two events of a stream side by side");
            action.event = nullptr;  // it points into this world
        }
        if (action.kind == Kind::write)
            claims(world, action.cursor);
        world.pending.push_back({std::move(action), position});
    }

    /// What lies before a cursor was handled, or waits in a stream that it names.
    void claims(World const& world, Cursor const& cursor)
    {
        for (Position p = 1; p <= cursor.position; ++p) {
            auto const event = event_at(p);
            bool const waits =
                std::any_of(cursor.parked.begin(), cursor.parked.end(), [&](Parked const& parked) {
                    return Key{parked.stream} == event.stream && parked.number <= event.number;
                });
            expect(
                world.handled.contains(p) || waits,
                "the cursor is beyond an event that is neither handled nor parked");
        }
    }

    void store(World& world, Cursor const& cursor)
    {
        claims(world, cursor);
        ++stored_cursors;
        parked_cursors += cursor.parked.empty() ? 0 : 1;
        world.stored = Versioned<Cursor>{cursor, ++world.versions};
    }

    // Another reader has taken the lease, handled everything there is, and said so.
    void lose(World const& world)
    {
        for (bool const told : {true, false}) {
            World w = world;
            ++w.lost_leases;
            w.holder = Holder::other;
            for (Position p = 1; p <= w.last; ++p)
                w.handled.insert(p);
            store(w, Cursor{"c/0", w.last, 1, {}, {}});
            if (told)
                w.machine.lost();
            meet(std::move(w));
        }
    }

    static bool resume(World& w)
    {
        auto const before = w.resumed;
        for (auto& parked : w.stored->value.parked)
            w.resumed += std::exchange(parked.resume, true) ? 0 : 1;
        return w.resumed > before;
    }

    // Somebody asks for the parked streams, or moves the cursor to the beginning.
    void ask(World const& world)
    {
        World w = world;
        ++w.asked;
        resume(w);
        w.stored->version = ++w.versions;
        meet(std::move(w));
        if (world.handled.size() < 3)
            return;
        World moved = world;
        ++moved.asked;
        moved.stored->value.position = 0;
        moved.stored->value.parked.clear();
        moved.stored->version = ++moved.versions;
        meet(std::move(moved));
    }

    /// The `i`th action ends, in each way that it can.
    void end(World const& world, std::size_t i)
    {
        auto const outcomes = [&]() -> std::vector<Errc> {
            if (world.failed >= 3)
                return {Errc::ok};
            switch (world.pending[i].action.kind) {
            case Kind::deliver: return {Errc::ok, Errc::not_found, Errc::unavailable};
            case Kind::write:
                return {Errc::ok, Errc::unavailable, Errc::outcome_unknown, Errc::deadline_exceeded};
            case Kind::read:
            case Kind::read_stream:
            case Kind::acquire:
            case Kind::newest:
            case Kind::look: return {Errc::ok, Errc::unavailable};
            default: return {Errc::ok};
            }
        }();
        for (auto const code : outcomes) {
            World w = world;
            auto const pending = w.pending[i];
            w.pending.erase(w.pending.begin() + static_cast<std::ptrdiff_t>(i));
            w.failed += code == Errc::ok ? 0 : 1;
            answer(w, pending, code);
            meet(std::move(w));
        }
    }

    void answer(World& w, Pending const& pending, Errc code)
    {
        auto const& action = pending.action;
        switch (action.kind) {
        case Kind::acquire: {
            if (code == Errc::ok && w.holder == Holder::other)
                code = Errc::lock_busy;
            if (code != Errc::ok)
                return w.machine.acquired(code, w.now, late);
            w.holder = Holder::us;
            return w.machine.acquired(w.stored, w.now, late);
        }
        case Kind::look:
            if (code != Errc::ok)
                return w.machine.looked(code, w.now, late);
            return w.machine.looked(w.stored, w.now, late);
        case Kind::newest:
            if (code != Errc::ok)
                return w.machine.newest(code, w.now, late);
            return w.machine.newest(NewestEvent{w.last, {}}, w.now, late);
        case Kind::read: return read(w, action, code);
        case Kind::read_stream: {
            if (code != Errc::ok)
                return w.machine.read_stream(action.stream, code, w.now, late);
            std::vector<Event> events;
            for (Position p = 1; p <= w.last && events.size() < action.limit; ++p)
                if (event_at(p).stream == action.stream && event_at(p).number > action.after)
                    events.push_back(event_at(p));
            return w.machine.read_stream(action.stream, std::move(events), w.now, late);
        }
        case Kind::deliver:
            if (code == Errc::ok)
                w.handled.insert(pending.position);
            return w.machine.handled(
                action.ticket, code == Errc::ok ? Attempt{} : Attempt::failed(code, "no"), w.now, late);
        case Kind::write: return write(w, action, code);
        case Kind::note:
            expect(
                w.asked > 0 || (w.stored ? action.after <= w.stored->value.position : action.after == 0),
                "the log may be trimmed beyond the cursor");
            return w.machine.noted(interlock::success());
        case Kind::release: release(w); return w.machine.released(w.now);
        case Kind::wait:
        case Kind::end: break;
        }
    }

    /// What a partition that is handed over has had nobody handles again, if nothing has gone wrong.
    void release(World& w)
    {
        if (w.holder != Holder::us)
            return;
        w.holder = Holder::nobody;
        if (!w.machine.hands_over() || w.failed > 0 || w.asked > 0 || w.lost_leases > 0)
            return;
        ++handed_over;
        for (auto const position : w.handled)
            expect(
                w.stored && position <= w.stored->value.position,
                "an event that was handled comes again after a hand over");
    }

    static void read(World& w, SubscriptionMachine::Action const& action, Errc code)
    {
        if (code != Errc::ok)
            return w.machine.read(code, w.now, late);
        EventPage page;
        page.next = action.after;
        while (page.next < w.last && page.events.size() < action.limit)
            page.events.push_back(event_at(++page.next));
        page.more = page.next < w.last;
        w.machine.read(std::move(page), w.now, late);
    }

    /// The store looks at the fence and at the version.
    void write(World& w, SubscriptionMachine::Action const& action, Errc code)
    {
        auto const version = w.stored ? w.stored->version : interlock::no_version;
        Outcome<Version> outcome{Errc::fenced_out};
        if (w.holder == Holder::us && action.version != version)
            outcome = Errc::version_conflict;
        bool const fits = w.holder == Holder::us && action.version == version;
        if (code == Errc::outcome_unknown) {
            World lost_request = w;
            lost_request.machine.written(Failure::unknown(Errc::unavailable), w.now, late);
            meet(std::move(lost_request));
            outcome = Failure::unknown(Errc::unavailable);
        } else if (code != Errc::ok) {
            return w.machine.written(code, w.now, late);
        }
        if (fits) {
            store(w, action.cursor);
            if (code == Errc::ok)
                outcome = w.stored->version;
        } else {
            ++refused_writes;
        }
        w.machine.written(std::move(outcome), w.now, late);
    }
};

}  // namespace subscription
}  // namespace

TEST_CASE("A subscription keeps its laws in every order of events", "[interleaving][subscription]")
{
    using namespace subscription;
    Explorer explorer;
    explorer.meet(World{});
    std::uint64_t count = 0;
    explorer.worlds.explore(60, 25'000, [&](World const& world) {
        explorer.step(world);
        if (++count % 4 == 0)
            explorer.finish(world);
    });
    INFO(explorer.first_problem);
    CHECK(explorer.problems == 0);
    CHECK(explorer.worlds.count() > 10'000);
    CHECK(explorer.ends > 100);
    CHECK(explorer.stored_cursors > 1000);
    CHECK(explorer.parked_cursors > 100);
    CHECK(explorer.refused_writes > 100);
    CHECK(explorer.handed_over > 20);
}

TEST_CASE("A subscription resumes a stream once for each request", "[interleaving][subscription]")
{
    using namespace subscription;
    Explorer explorer;
    World world;  // a is parked with its first event, and somebody has asked for it
    world.last = 2;
    world.handled = {2};
    world.versions = 1;
    world.stored = Versioned<Cursor>{Cursor{"c/0", 2, 1, {Parked{"a", 1, 1, 2, "no", true}}, {}}, 1};
    explorer.meet(std::move(world));
    explorer.worlds.explore(60, 25'000, [&](World const& w) { explorer.step(w); });
    INFO(explorer.first_problem);
    CHECK(explorer.problems == 0);
    CHECK(explorer.worlds.count() > 10'000);
    CHECK(explorer.parked_cursors > 100);
    CHECK(explorer.refused_writes > 100);
}
