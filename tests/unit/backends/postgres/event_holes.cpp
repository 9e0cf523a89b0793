// SPDX-License-Identifier: BSL-1.0

// Positions that are missing: a reader waits for whoever may still fill one, passes one over that nobody can
// fill, and is held up by nobody else.

#include <interlock/backends/postgres/detail/event_table.hpp>
#include <interlock/backends/postgres/event_repository.hpp>

#include "support/catch.hpp"
#include "support/postgres_appender.hpp"
#include "support/postgres_server.hpp"
#include "support/threads.hpp"

#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace postgres_event_holes_test {

namespace il = interlock;
namespace pg = interlock::postgres;
using interlock_test::PostgresAppender;

/// A server that can prepare transactions, for all tests of this file.
interlock_test::PostgresServer& server()
{
    static interlock_test::PostgresServer one{{"max_prepared_transactions=10"}};
    return one;
}

struct Fixture {
    explicit Fixture(unsigned partitions = 1)
        : pool(interlock_test::fresh_pool(server())), events(pool, {.partitions = partitions}),
          log(nullptr, pool.options().name_space, {.partitions = partitions})
    {
        events.create_schema().value();
    }
    PostgresAppender appender() const { return PostgresAppender{server().url(), log}; }
    void append(std::string const& stream, std::string const& id) const
    {
        il::NewEvent event;
        event.id = id;
        event.type = "happened";
        std::vector<il::NewEvent> const one{event};
        events.append(il::Key{stream}, il::Expected::any(), one).value();
    }
    /// The ids of what comes next.
    std::string next(std::size_t limit = 256)
    {
        auto const page = events.read(0, place, limit).value();
        place = page.next;
        more = page.more;
        std::string ids;
        for (auto const& event : page.events)
            ids += event.id;
        return ids;
    }

    pg::Pool pool;
    pg::EventRepository events;
    pg::detail::EventTable log;
    il::Position place{0};
    bool more{false};
};

TEST_CASE("a reader waits at a position that may still be filled", "[postgres][events][event_holes]")
{
    Fixture f;
    f.append("a", "1");
    auto open = f.appender();
    open.append("b", "2");
    f.append("c", "3");
    f.append("d", "4");

    CHECK(f.next() == "1");
    CHECK_FALSE(f.more);
    for (int i = 0; i < 3; ++i)
        CHECK(f.next() == "");
    open.run("COMMIT");
    CHECK(f.next() == "234");
    CHECK_FALSE(f.more);
    CHECK(f.next() == "");
}

TEST_CASE("whoever has waited for a stream has the number after it", "[postgres][events][event_holes]")
{
    Fixture f;
    for (auto const* const how : {"COMMIT", "ROLLBACK"}) {
        std::string const stream = how;
        auto open = f.appender();
        open.append(stream, stream + "-1");
        auto other = std::async(std::launch::async, [&] { f.append(stream, stream + "-2"); });
        auto looking = f.appender();
        while (looking.run("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0")
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        open.run(how);  // the statement that waits has an older snapshot
        other.get();
        auto const events = f.events.read_stream(il::Key{stream}, 0).value();
        std::string ids;
        for (auto const& event : events)
            ids += event.id;
        CHECK(ids == (stream == "COMMIT" ? "COMMIT-1COMMIT-2" : "ROLLBACK-2"));
        CHECK(events.back().number == static_cast<std::int64_t>(events.size()));
        auto read = f.next();
        read += f.next();  // the number that was refused has cost a position
        CHECK(read == ids);
    }
}

TEST_CASE("a position that nobody can fill is passed over at once", "[postgres][events][event_holes]")
{
    Fixture f;
    auto open = f.appender();
    open.append("b", "1");
    open.append("b", "2");
    f.append("c", "3");
    SECTION("nobody has seen the hole before")
    {
        open.run("ROLLBACK");
        CHECK(f.next() == "3");
    }
    SECTION("a reader has waited for it")
    {
        CHECK(f.next() == "");
        open.run("ROLLBACK");
        CHECK(f.next() == "3");
    }
    SECTION("the session is ended")
    {
        CHECK(f.next() == "");
        server().command("SELECT pg_terminate_backend(" + std::to_string(open.pid()) + ", 10000)");
        CHECK(f.next() == "3");
    }
    SECTION("the server crashes")
    {
        CHECK(f.next() == "");
        server().restart_immediately();
        CHECK(f.next() == "3");
    }
    SECTION("the rest is not read before the hole is known to be one")
    {
        f.append("d", "4");
        open.run("ROLLBACK");
        CHECK(f.next(1) == "3");
        CHECK(f.more);
        CHECK(f.next(1) == "4");
        CHECK_FALSE(f.more);
    }
}

TEST_CASE("a prepared transaction is waited for", "[postgres][events][event_holes]")
{
    Fixture f;
    auto open = f.appender();
    open.append("b", "1");
    open.run("PREPARE TRANSACTION 'held'");
    f.append("c", "2");
    CHECK(f.next() == "");
    SECTION("and what it commits is read")
    {
        open.run("COMMIT PREPARED 'held'");
        CHECK(f.next() == "12");
    }
    SECTION("and what it rolls back is not")
    {
        open.run("ROLLBACK PREPARED 'held'");
        CHECK(f.next() == "2");
    }
    SECTION("though its session ends and the server crashes")
    {
        server().restart_immediately();
        CHECK(f.next() == "");
        server().command("COMMIT PREPARED 'held'");
        CHECK(f.next() == "12");
    }
}

TEST_CASE(
    "a transaction that is prepared while a reader waits is waited for", "[postgres][events][event_holes]")
{
    Fixture f;
    auto open = f.appender();
    open.append("b", "1");
    f.append("c", "2");
    CHECK(f.next() == "");
    open.run("PREPARE TRANSACTION 'later'");
    CHECK(f.next() == "");
    f.append("d", "3");
    CHECK(f.next() == "");
    open.run("COMMIT PREPARED 'later'");
    CHECK(f.next() == "123");
}

TEST_CASE(
    "a transaction that has got its id later and its position earlier is waited for",
    "[postgres][events][event_holes]")
{
    Fixture f;
    auto early = f.appender();
    early.run("BEGIN");
    early.run("SELECT pg_current_xact_id()");
    auto open = f.appender();
    open.append("a", "1");
    early.append("b", "2");
    early.run("COMMIT");  // a snapshot that is taken now begins behind it, and before the other one
    CHECK(f.next() == "");
    open.run("COMMIT");
    CHECK(f.next() == "12");
}

TEST_CASE(
    "an append that has drawn its position and is still busy is waited for",
    "[postgres][events][event_holes]")
{
    Fixture f;
    auto const ns = f.pool.options().name_space;
    // Storing the event "1" takes until this session ends.
    std::optional<PostgresAppender> gate{std::in_place, server().url(), f.log};
    gate->run("SELECT pg_advisory_lock(4711, 4712)");
    server().command(
        "CREATE FUNCTION " + ns +
        "_wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.id = '1' THEN PERFORM "
        "pg_advisory_xact_lock(4711, 4712); END IF; RETURN new; END $$");
    server().command(
        "CREATE TRIGGER wait BEFORE INSERT ON " + ns + "_event FOR EACH ROW EXECUTE FUNCTION " + ns +
        "_wait()");
    std::thread busy{[&] { f.append("a", "1"); }};
    bool const waits = interlock_test::eventually([] {
        return server().command("SELECT count(*) FROM pg_locks WHERE NOT granted AND classid = 4711") == "1";
    });
    f.append("b", "2");
    auto const before = f.next();
    gate.reset();
    busy.join();
    CHECK(waits);
    CHECK(before == "");
    CHECK(f.next() == "12");
}

TEST_CASE("positions are drawn in one order by all sessions", "[postgres][events][event_holes]")
{
    Fixture f;
    auto one = f.appender();
    auto two = f.appender();
    std::string read;
    for (auto* const session : {&one, &two, &one, &two}) {
        session->append("a", std::to_string(read.size() + 1));
        session->run("COMMIT");
        read += f.next();
    }
    CHECK(read == "1234");
}

TEST_CASE("transactions that append nothing hold no reader up", "[postgres][events][event_holes]")
{
    Fixture f;
    auto other = f.appender();
    other.run("BEGIN");
    other.run("CREATE TABLE other_" + f.pool.options().name_space + " (n int)");
    other.run("SELECT pg_advisory_xact_lock_shared(1, 2)");
    auto reader = f.appender();
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    reader.run("SELECT count(*) FROM pg_class");

    auto open = f.appender();
    open.append("b", "1");
    f.append("c", "2");
    CHECK(f.next() == "");
    open.run("ROLLBACK");
    CHECK(f.next() == "2");
}

TEST_CASE("those who append to another log or partition hold no reader up", "[postgres][events][event_holes]")
{
    Fixture f{2};
    Fixture elsewhere;
    auto of_another_log = elsewhere.appender();
    of_another_log.append("b", "1");
    std::string first;
    std::string second;
    for (int i = 0; first.empty() || second.empty(); ++i)
        (f.log.partition(std::to_string(i)) == 0 ? first : second) = std::to_string(i);
    auto of_another_partition = f.appender();
    of_another_partition.append(second, "1");

    auto open = f.appender();
    open.append(first, "1x");
    f.append(first + "0", "ignored");
    auto rolled_back = f.appender();
    open.run("ROLLBACK");
    f.append(first, "2");
    auto const page = f.events.read(0, 0).value();
    REQUIRE_FALSE(page.events.empty());
    CHECK(page.events.back().id == "2");
    of_another_partition.run("COMMIT");
    CHECK(f.events.read(1, 0)->events.front().id == "1");
}

TEST_CASE("those who began later than a hole was seen do not hold it up", "[postgres][events][event_holes]")
{
    Fixture f;
    auto early = f.appender();
    early.append("a", "1");
    f.append("b", "2");
    CHECK(f.next() == "");  // a checkpoint that names `early`
    auto late = f.appender();
    late.append("c", "3");
    f.append("d", "4");
    CHECK(f.next() == "");
    early.run("ROLLBACK");
    CHECK(f.next() == "2");
    CHECK(f.next() == "");
    late.run("COMMIT");
    CHECK(f.next() == "34");
}

TEST_CASE(
    "an event that is committed between two questions is not passed over", "[postgres][events][event_holes]")
{
    Fixture f;
    auto open = f.appender();
    open.append("a", "1");
    f.append("b", "2");
    CHECK(f.next() == "");
    open.run("COMMIT");
    auto again = f.appender();  // the hole is filled, and there is another one behind it
    again.append("c", "3");
    f.append("d", "4");
    CHECK(f.next() == "12");
    CHECK(f.next() == "");
    again.run("COMMIT");
    CHECK(f.next() == "34");
}

TEST_CASE("many checkpoints are bounded, and the last of them counts", "[postgres][events][event_holes]")
{
    Fixture f;
    auto open = f.appender();
    open.append("a", "[");
    std::string all;
    for (int i = 0; i < 40; ++i) {
        f.append("b", std::to_string(i));
        all += std::to_string(i);
        CHECK(f.next() == "");
    }
    open.run("ROLLBACK");
    CHECK(f.next() == all);
}

TEST_CASE("a trim of a log without events leaves what comes later", "[postgres][events]")
{
    Fixture f;
    CHECK(f.events.trim(0, INT64_MAX).value() == 0);
    f.append("a", "1");
    CHECK(f.next().size() == 1);
    CHECK(f.events.trim(0, INT64_MAX).value() == 1);
    CHECK(f.events.trim(0, INT64_MAX).value() == 1);  // nothing is left
    f.append("a", "2");
    CHECK(f.events.read(0, 1)->events.size() == 1);
    CHECK(f.events.extent(0)->last == 2);
}

TEST_CASE("numbers go on, though an event is committed below a trim", "[postgres][events]")
{
    Fixture f;
    auto open = f.appender();
    open.append("a", "1");
    f.append("b", "2");
    CHECK(f.events.trim(0, 2).value() == 2);
    open.run("COMMIT");
    CHECK(f.events.read_stream(il::Key{"a"})->size() == 1);
    auto const page = f.events.read(0, 0).value();
    CHECK(page.trimmed);
    CHECK(page.events.empty());
    CHECK(f.events.trim(0, 2).value() == 2);
    CHECK(f.events.read_stream(il::Key{"a"})->empty());
    f.append("a", "3");
    f.append("b", "4");
    CHECK(f.events.read_stream(il::Key{"a"}, 1)->front().number == 2);
    CHECK(f.events.read_stream(il::Key{"b"}, 1)->front().number == 2);
}

TEST_CASE("of a trimmed stream one row stays, with its number", "[postgres][events]")
{
    Fixture f{2};
    auto const table = f.pool.options().name_space + "_event";
    auto const rows = [&] { return server().command("SELECT count(*) FROM " + table); };
    auto const partition = il::partition_of("a", 2);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 4; ++i)
            f.append("a", std::to_string(4 * round + i));
        auto const last = f.events.extent(partition)->last;
        CHECK(f.events.trim(partition, last).value() == last);
        CHECK(rows() == "1");
        CHECK(f.events.extent(partition)->first == 0);
        CHECK(f.events.extent(partition)->last == last);
        CHECK(f.events.read(partition, 0)->events.empty());
        CHECK(f.events.read_stream(il::Key{"a"})->empty());
        // Nothing is appended, and the number is known.
        auto const none = f.events.append(il::Key{"a"}, il::Expected::exactly(4 * (round + 1)), {});
        REQUIRE(none);
        CHECK(none->number == 4 * (round + 1));
    }
    // What was trimmed keeps no id from being used again, and an end is not trimmed.
    f.append("a", "0");
    auto const rest = f.events.read_stream(il::Key{"a"}).value();
    REQUIRE(rest.size() == 1);
    CHECK(rest[0].number == 13);
    CHECK(f.events.trim(partition, rest[0].position - 1).value() == rest[0].position - 1);
    CHECK(rows() == "2");
    CHECK(f.events.read_stream(il::Key{"a"})->size() == 1);
}

TEST_CASE("no event has the id of a row of the log itself", "[postgres][events]")
{
    Fixture f;
    auto const table = f.pool.options().name_space + "_event";
    auto const end_of = [&](std::string const& what) {
        return server().command("SELECT " + what + " FROM " + table + " WHERE partition < 0");
    };
    auto const end_at = [](il::Position position) { return "end 0 " + std::to_string(position); };
    f.append("a", "1");
    CHECK(f.events.trim(0, 1).value() == 1);
    // Such a row takes little room, though no event can have an id of its length.
    CHECK(std::stoull(end_of("octet_length(id)")) > il::max_event_id_bytes);
    CHECK(std::stoull(end_of("pg_column_size(id)")) < 100);
    // A program that was built before that gave it such an id.
    for (auto const& id : {end_at(1), std::string{"end 1"}}) {
        server().command("UPDATE " + table + " SET id = '" + id + "' WHERE partition < 0");
        CHECK(f.events.trim(0, 1).value() == 1);
        f.append("b", id);
    }
    // Of the stream c the event is trimmed whose end was called as an event of d is.
    f.append("c", "2");
    auto const last = f.events.extent(0)->last;
    f.append("d", end_at(last));
    auto const trimmed = f.events.trim(0, last);
    REQUIRE(trimmed);
    CHECK(*trimmed == last);
    CHECK(f.events.read_stream(il::Key{"d"})->front().id == end_at(last));
    f.append("c", "3");
    CHECK(f.events.read_stream(il::Key{"c"})->front().number == 2);
}

/// Makes of a log of this version one that version 0.2 would have made.
void make_it_old(std::string const& table)
{
    server().command("DROP TABLE " + table + "_stream");
    server().command("CREATE TABLE " + table + "_stream (stream bytea PRIMARY KEY, number bigint NOT NULL)");
}

TEST_CASE("a log of version 0.2 keeps its shape, until it is given the new one", "[postgres][events]")
{
    Fixture f;
    auto const table = f.pool.options().name_space + "_event";
    make_it_old(table);
    f.events.create_schema().value();  // changes nothing
    server().command("INSERT INTO " + table + "_stream VALUES ('z', 7)");
    f.append("a", "1");
    f.append("a", "2");
    f.append("b", "3");
    f.append("z", "4");
    CHECK(f.events.read_stream(il::Key{"z"})->front().number == 8);
    CHECK(f.events.trim(0, 2).value() == 2);
    CHECK(server().command("SELECT number FROM " + table + "_stream WHERE stream = 'a'") == "2");
    CHECK(server().command("SELECT count(*) FROM " + table) == "2");
    CHECK(f.events.append(il::Key{"a"}, il::Expected::exactly(2), {})->number == 2);

    // As the manual of PostgreSQL says it.
    server().command(
        "INSERT INTO " + table +
        " (partition, position, stream, number, id, type, version, data, correlation, cause, traceparent, "
        "writer, recorded_at) SELECT -1, -row_number() OVER (), stream, number, rpad(' end ' || row_number() "
        "OVER (), 2100), 'end', 1, '', '', '', '', '', now() FROM " +
        table + "_stream s WHERE NOT EXISTS (SELECT FROM " + table +
        " e WHERE e.stream = s.stream AND e.number > s.number)");
    server().command("DROP TABLE " + table + "_stream");
    pg::EventRepository const now{f.pool};
    CHECK(now.read(0, 0).errc() == il::Errc::misconfigured);
    now.create_schema().value();
    CHECK(now.append(il::Key{"a"}, il::Expected::exactly(2), {})->number == 2);
    il::NewEvent event;
    event.type = "happened";
    std::vector<il::NewEvent> const one{event};
    CHECK(now.append(il::Key{"a"}, il::Expected::any(), one)->number == 3);
    CHECK(now.append(il::Key{"z"}, il::Expected::any(), one)->number == 9);
    auto const last = now.extent(0)->last;
    CHECK(now.trim(0, last).value() == last);
    CHECK(server().command("SELECT string_agg(number::text, ' ' ORDER BY stream) FROM " + table) == "3 1 9");
}

TEST_CASE("what was known of holes is not taken for those of a log that is made anew", "[postgres][events]")
{
    Fixture f;
    auto const table = f.pool.options().name_space + "_event";
    for (auto const* const id : {"1", "2", "3", "4", "5"})
        f.append("a", id);
    auto open = f.appender();
    open.append("b", "6");
    f.append("a", "7");
    CHECK(f.next() == "12345");
    open.run("ROLLBACK");
    CHECK(f.next() == "7");
    bool const has_grown = GENERATE(false, true);
    server().command(
        "DROP TABLE " + table + ", " + table + "_stream, " + table + "_partition, " + table + "_consumer");
    server().command("DROP SEQUENCE " + table + "_position_0");
    f.events.create_schema().value();
    f.place = 0;
    f.append("a", "1");
    auto again = f.appender();
    again.append("b", "2");
    for (int i = 3; i < (has_grown ? 10 : 4); ++i)
        f.append("a", std::to_string(i));
    CHECK(f.next() == "1");
    CHECK(f.next().empty());
    again.run("COMMIT");
    CHECK(f.next() == (has_grown ? "23456789" : "23"));
}

TEST_CASE("positions of another log are refused", "[postgres][events]")
{
    Fixture f;
    CHECK(f.events.read(0, 1).errc() == il::Errc::corrupt_state);
    f.append("a", "1");
    auto open = f.appender();
    open.append("b", "2");  // drawn, and not there
    CHECK(f.events.read(0, 1)->events.empty());
    CHECK(f.events.read(0, 2).errc() == il::Errc::corrupt_state);
    CHECK(f.events.read(0, -1).errc() == il::Errc::invalid_argument);
    CHECK(f.events.read(1, 0).errc() == il::Errc::invalid_argument);
    CHECK(f.events.read(0, 0, 0).errc() == il::Errc::invalid_argument);
}

TEST_CASE("a log whose sequence has a cache, or whose parts are missing, is refused", "[postgres][events]")
{
    using Catch::Matchers::ContainsSubstring;
    Fixture f;
    auto const name = f.pool.options().name_space + "_event";
    pg::EventRepository const fresh{f.pool};
    auto const refused = [&](std::string const& words) {
        auto const read = fresh.read(0, 0);
        CHECK(read.errc() == il::Errc::misconfigured);
        CHECK_THAT(read.detail(), ContainsSubstring(words));
        il::NewEvent event;
        event.type = "happened";
        std::vector<il::NewEvent> const one{event};
        CHECK(fresh.append(il::Key{"a"}, il::Expected::any(), one).errc() == il::Errc::misconfigured);
        CHECK(server().command("SELECT count(*) FROM " + name) == "0");
    };
    SECTION("cache")
    {
        server().command("ALTER SEQUENCE " + name + "_position_0 CACHE 20");
        refused(name + "_position_0 must have CACHE 1");
    }
    SECTION("cycle")
    {
        server().command("ALTER SEQUENCE " + name + "_position_0 CYCLE");
        refused("no CYCLE");
    }
    SECTION("steps")
    {
        server().command("ALTER SEQUENCE " + name + "_position_0 INCREMENT 2");
        refused("INCREMENT 1");
    }
    SECTION("no index")
    {
        server().command("ALTER TABLE " + name + " DROP CONSTRAINT " + name + "_stream_number_key");
        refused("needs a unique index on (stream, number)");
    }
    SECTION("row-level policies")
    {
        server().command("CREATE ROLE " + name + "_reader LOGIN");
        server().command("GRANT ALL ON ALL TABLES IN SCHEMA public TO " + name + "_reader");
        server().command("ALTER TABLE " + name + " ENABLE ROW LEVEL SECURITY");
        auto options = f.pool.options();
        options.url = "postgresql://" + name + "_reader" + server().url().substr(server().url().find('@'));
        pg::EventRepository const hers{pg::Pool{options}};
        auto const read = hers.read(0, 0);
        CHECK(read.errc() == il::Errc::misconfigured);
        CHECK_THAT(read.detail(), ContainsSubstring("row-level policies apply to " + name));
    }
    SECTION("another number of partitions")
    {
        pg::EventRepository const two{f.pool, {.partitions = 2}};
        CHECK(two.read(0, 0).errc() == il::Errc::misconfigured);
        // It is not made into such a log either: of a stream with events, the next ones would be elsewhere.
        auto const made = two.create_schema();
        CHECK(made.errc() == il::Errc::misconfigured);
        CHECK_THAT(made.detail(), ContainsSubstring("has 1 partitions, and not 2"));
        CHECK(f.events.create_schema());
        CHECK(server().command("SELECT count(*) FROM " + name + "_partition") == "1");
        server().command("INSERT INTO " + name + "_partition VALUES (1, 0)");
        refused("has 2 partitions, and not 1");
    }
}

}  // namespace postgres_event_holes_test
