// SPDX-License-Identifier: BSL-1.0

// Users' own tables, wake-ups, versions and records on PostgreSQL, where the contract suite cannot ask.
//
// How it works: each case makes a table of its own (`fresh_table`) on a real server, maps a described struct
// onto it, and looks at the rows by plain SQL through another connection: what must be there, and what must
// have been left alone.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/enum.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace postgres_state_repository_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using interlock_test::run_threads;
using interlock_test::Stock;

enum class Kind { plain, fancy };
BOOST_DESCRIBE_ENUM(Kind, plain, fancy)
enum class Grade { low = 1, high = 2 };

struct Product {
    std::int64_t id{0};
    std::string name;
    int inventory_count{0};
    double weight{0};
    bool active{false};
    std::optional<std::string> note{};
    Kind kind{Kind::plain};
    Grade grade{Grade::low};
    std::int64_t version{0};
};
BOOST_DESCRIBE_STRUCT(Product, (), (id, name, inventory_count, weight, active, note, kind, grade, version))

struct Room {
    std::int64_t id{0};
    std::string name;
    int first_day{0};
    int last_day{0};
};
BOOST_DESCRIBE_STRUCT(Room, (), (id, name, first_day, last_day))

struct Word {
    std::string word;
    std::int64_t order{0};  // a reserved word of SQL
};
BOOST_DESCRIBE_STRUCT(Word, (), (word, order))

std::string fresh_table(std::string const& columns)
{
    static int count = 0;
    auto const name = "own_table_" + std::to_string(count++);
    postgres_server().command("CREATE TABLE " + name + " (" + columns + ")");
    return name;
}

std::string products_table()
{
    return fresh_table(
        "id bigint PRIMARY KEY, name text NOT NULL, inventory_count int NOT NULL CONSTRAINT not_sold_out "
        "CHECK (inventory_count >= 0), "
        "weight numeric NOT NULL DEFAULT 0, active boolean NOT NULL DEFAULT true, note varchar(20), kind "
        "text NOT NULL DEFAULT 'plain', "
        "grade smallint NOT NULL DEFAULT 1, version bigint NOT NULL DEFAULT 1, unseen text DEFAULT 'left "
        "alone'");
}

postgres::StateRepository<Product> products(postgres::Pool const& pool, std::string table)
{
    return postgres::StateRepository<Product>{pool, {.table = std::move(table), .key = "id"}};
}

TEST_CASE("states are rows of the user's own table", "[postgres][state_repository][own_table]")
{
    auto const pool = fresh_pool();
    auto const table = products_table();
    auto const repository = products(pool, table);
    postgres_server().command(
        "INSERT INTO " + table + " (id, name, inventory_count, weight) VALUES (7, 'tea', 3, 1.25)");
    auto const loaded = repository.load(std::int64_t{7}).value();
    CHECK(loaded.version == 1);
    CHECK(loaded.value.name == "tea");
    CHECK(loaded.value.inventory_count == 3);
    CHECK(loaded.value.weight == 1.25);
    CHECK(loaded.value.active);
    CHECK_FALSE(loaded.value.note);
    CHECK(loaded.value.kind == Kind::plain);
    CHECK(loaded.value.version == 1);

    auto changed = loaded.value;
    changed.name = "'; DROP TABLE " + table + "; --";
    changed.note = "";
    changed.active = false;
    changed.kind = Kind::fancy;
    changed.grade = Grade::high;
    changed.weight = -0.1;
    auto const version = repository.compare_and_set(std::int64_t{7}, 1, changed).value();
    CHECK(version == 2);
    CHECK(repository.compare_and_set(std::int64_t{7}, 1, changed).errc() == Errc::version_conflict);
    // That state is another's.
    CHECK(repository.compare_and_set(std::int64_t{8}, 1, changed).errc() == Errc::invalid_argument);
    auto const again = repository.load(std::int64_t{7}).value();
    CHECK(again.value.name == changed.name);
    CHECK(again.value.note == "");
    CHECK_FALSE(again.value.active);
    CHECK(again.value.kind == Kind::fancy);
    CHECK(again.value.grade == Grade::high);
    CHECK(again.value.weight == -0.1);
    CHECK(again.value.version == 2);
    CHECK(postgres_server().command("SELECT kind || unseen FROM " + table) == "fancyleft alone");

    CHECK(repository.insert(Product{.id = 8, .name = "jam"}).value() == 1);
    CHECK(repository.insert(Product{.id = 8, .name = "jam"}).errc() == Errc::already_exists);
    CHECK(repository.erase(std::int64_t{8}, 1).value() == 1);
    CHECK(repository.load(std::int64_t{8}).errc() == Errc::not_found);
}

TEST_CASE("every policy works on the user's own table", "[postgres][state_repository][own_table]")
{
    auto const pool = fresh_pool();
    auto const table = products_table();
    auto const repository = products(pool, table);
    REQUIRE(repository.insert(Product{.id = 1, .name = "tea", .inventory_count = 300}));
    REQUIRE(repository.insert(Product{.id = 2, .name = "jam", .inventory_count = 0}));
    TransactionService const optimistic{OptimisticVersioning{}, repository, {.combine = 1}};
    TransactionService const row_lock{PessimisticRowLock{}, repository, {.combine = 1}};
    // A lock keeps only those out who ask for it; the others conflict with it again and again.
    TransactionService const lease{SetNxLock{.max_attempts = 1000}, repository, {.combine = 1}};
    std::atomic<int> failed{0};
    run_threads(6, [&](std::size_t i) {
        auto const take = [](Product& p) { return --p.inventory_count; };
        for (int n = 0; n < 20; ++n) {
            auto const outcome =
                (i % 3 == 0   ? optimistic.try_do_in_transaction(std::int64_t{1}, take, {.deadline = 60s})
                 : i % 3 == 1 ? row_lock.try_do_in_transaction(std::int64_t{1}, take, {.deadline = 60s})
                              : lease.try_do_in_transaction(std::int64_t{1}, take, {.deadline = 60s}));
            failed += outcome ? 0 : 1;
        }
    });
    CHECK(failed == 0);
    CHECK(repository.load(std::int64_t{1}).value().value.inventory_count == 180);
    CHECK(repository.load(std::int64_t{1}).value().version == 121);
    for (auto const* service : {&row_lock})
        CHECK(
            service->do_in_transaction(
                keys(std::int64_t{2}, std::int64_t{1}), [](Product& to, Product& from) {
                    from.inventory_count -= 30;
                    to.inventory_count += 30;
                    return to.inventory_count;
                }) == 30);
    CHECK(
        optimistic.do_in_transaction(keys(std::int64_t{2}, std::int64_t{1}), [](Product& to, Product& from) {
            from.inventory_count -= 30;
            to.inventory_count += 30;
            return to.inventory_count;
        }) == 60);
    CHECK(repository.load(std::int64_t{1}).value().value.inventory_count == 120);
    auto const rename = [](Product& p) { p.id = 9; };
    CHECK(optimistic.try_do_in_transaction(std::int64_t{1}, rename).errc() == Errc::invalid_argument);
    // What an operation writes to the member of the version is ignored.
    CHECK(optimistic.do_in_transaction(std::int64_t{1}, [](Product& p) { return p.version = 77; }) == 77);
    CHECK(repository.load(std::int64_t{1}).value().version < 200);
}

TEST_CASE("a constraint refuses by name and nothing is changed", "[postgres][state_repository][own_table]")
{
    auto const pool = fresh_pool();
    auto const repository = products(pool, products_table());
    REQUIRE(repository.insert(Product{.id = 1, .name = "tea", .inventory_count = 1}));
    TransactionService const optimistic{OptimisticVersioning{}, repository};
    TransactionService const row_lock{PessimisticRowLock{}, repository};
    for (int i = 0; i < 2; ++i) {
        auto const take = [](Product& p) { p.inventory_count -= 2; };
        auto const refused = i == 0 ? optimistic.try_do_in_transaction(std::int64_t{1}, take)
                                    : row_lock.try_do_in_transaction(std::int64_t{1}, take);
        CHECK(refused.errc() == Errc::constraint_violated);
        CHECK(refused.effect() == Effect::not_applied);
        CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("not_sold_out"));
        CHECK(repository.load(std::int64_t{1}).value().value.inventory_count == 1);
    }
}

TEST_CASE(
    "violations of unique, check and exclusion constraints are results that name the constraint",
    "[postgres][state_repository][own_table]")
{
    auto const pool = fresh_pool();
    auto const table = fresh_table(
        "id bigint PRIMARY KEY, name text NOT NULL CONSTRAINT one_name UNIQUE, first_day int NOT NULL, "
        "last_day int NOT NULL, version bigint NOT NULL DEFAULT 1, CONSTRAINT in_order CHECK (first_day <= "
        "last_day), "
        "CONSTRAINT no_overlap EXCLUDE USING gist (int4range(first_day, last_day, '[]') WITH &&)");
    postgres::StateRepository<Room> const rooms{pool, {.table = table, .key = "id"}};
    Room const first{.id = 1, .name = "first", .first_day = 1, .last_day = 3};
    Room const second{.id = 2, .name = "second", .first_day = 5, .last_day = 7};
    REQUIRE(rooms.insert(first));
    REQUIRE(rooms.insert(second));
    TransactionService const optimistic{OptimisticVersioning{}, rooms};
    TransactionService const row_lock{PessimisticRowLock{}, rooms};
    TransactionService const lease{SetNxLock{}, rooms};
    auto const refused_by = [&](auto const& outcome, std::string const& name) {
        CHECK(outcome.errc() == Errc::constraint_violated);
        CHECK(outcome.effect() == Effect::not_applied);
        CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring("constraint " + name));
        CHECK(rooms.load(std::int64_t{2}).value().version == 1);
    };
    std::pair<std::string, void (*)(Room&)> const mistakes[] = {
        {"one_name", [](Room& r) { r.name = "first"; }},
        {"in_order", [](Room& r) { r.last_day = 4; }},
        {"no_overlap", [](Room& r) { r.first_day = 3; }}};
    for (auto const& entry : mistakes) {
        auto const& name = entry.first;
        auto const mistake = entry.second;
        CAPTURE(name);
        auto changed = second;
        mistake(changed);
        Room third{.id = 3, .name = "third", .first_day = 15, .last_day = 17};
        mistake(third);
        refused_by(rooms.compare_and_set(std::int64_t{2}, 1, changed), name);
        refused_by(rooms.insert(third), name);
        refused_by(optimistic.try_do_in_transaction(std::int64_t{2}, mistake), name);
        refused_by(row_lock.try_do_in_transaction(std::int64_t{2}, mistake), name);
        refused_by(lease.try_do_in_transaction(std::int64_t{2}, mistake), name);
        row_lock.do_in_transaction(std::int64_t{1}, [&](Room&, postgres::Transaction& tx) {
            auto const insert =
                "INSERT INTO " + table + " (id, name, first_day, last_day) VALUES ($1, $2, $3, $4)";
            refused_by(tx.try_exec(insert, third.id, third.name, third.first_day, third.last_day), name);
        });
    }
}

TEST_CASE(
    "a text that no column can hold is refused by name, never cut", "[postgres][state_repository][own_table]")
{
    auto const pool = fresh_pool();
    auto const table = fresh_table("word text PRIMARY KEY, \"order\" bigint, version bigint NOT NULL");
    postgres::StateRepository<Word> const words{pool, {.table = table, .key = "word"}};
    REQUIRE(words.insert(Word{"acct", 1}));
    std::string const hidden("acct\0A", 6);
    CHECK(words.load(hidden).errc() == Errc::invalid_argument);
    CHECK(words.insert(Word{hidden, 2}).errc() == Errc::invalid_argument);
    CHECK(words.compare_and_set(hidden, 1, Word{hidden, 2}).errc() == Errc::invalid_argument);
    CHECK(words.load(std::string("\xff\xfe")).errc() == Errc::invalid_argument);
    CHECK(words.load("acct").value().value.order == 1);
    auto const repository = products(pool, products_table());
    auto const refused = repository.insert(Product{.id = 1, .name = std::string("zq\0a", 4)});
    CHECK(refused.errc() == Errc::invalid_argument);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("name"));
    CHECK(refused.detail().find("zq") == std::string::npos);
    // Too long for its column: the server's word, without the value.
    auto const long_note = repository.insert(Product{.id = 1, .name = "tea", .note = std::string(30, 'q')});
    CHECK(long_note.errc() == Errc::invalid_argument);
    CHECK(long_note.detail().find("qq") == std::string::npos);
}

TEST_CASE(
    "names that are not plain identifiers are refused before anything is sent",
    "[postgres][state_repository][own_table]")
{
    postgres::Pool const nowhere{"postgresql://127.0.0.1:1/none"};
    using postgres::RepositoryOptions;
    std::vector<std::string> const names{"a;b",   "A",  "a b", "a\"b", "1a",        "",
                                         "a.b.c", ".a", "a.",  "a'b",  "t\xc3\xa9", std::string(64, 'a')};
    for (auto const& bad : names) {
        CAPTURE(bad);
        if (!bad.empty())
            CHECK_THROWS_AS((postgres::StateRepository<Word>{nowhere, {.table = bad, .key = "word"}}), Error);
        CHECK_THROWS_AS((postgres::StateRepository<Word>{nowhere, {.table = "t", .key = bad}}), Error);
        CHECK_THROWS_AS(
            (postgres::StateRepository<Word>{nowhere, {.table = "t", .key = "word", .version = bad}}), Error);
        if (!bad.empty() && bad != "a.b")
            CHECK_THROWS_AS(
                (postgres::StateRepository<Word>{
                    nowhere, {.table = "t", .key = "word", .version_sequence = bad}}),
                Error);
    }
    CHECK_NOTHROW(postgres::StateRepository<Word>{nowhere, {.table = "shop.words", .key = "word"}});
    CHECK_THROWS_AS(
        (postgres::StateRepository<int, std::string>{nowhere, {.table = "t", .key = "k"}}), Error);
    CHECK_THROWS_AS((postgres::StateRepository<Word>{nowhere, {.retention = 1ms}}), Error);
    CHECK(postgres::StateRepository<Word>{nowhere}.load("x").errc() == Errc::unavailable);
}

TEST_CASE("a table that is not as it should be is misconfigured, and says so", "[postgres][state_repository]")
{
    auto const pool = fresh_pool();
    CHECK(products(pool, "no_such_table").load(std::int64_t{1}).errc() == Errc::misconfigured);
    auto const table = products_table();
    auto const repository = products(pool, table);
    REQUIRE(repository.insert(Product{.id = 1, .name = "tea", .inventory_count = 1}));
    postgres_server().command("UPDATE " + table + " SET version = -1");
    CHECK(repository.load(std::int64_t{1}).errc() == Errc::corrupt_state);
    postgres_server().command(
        "UPDATE " + table + " SET version = 1, grade = NULL, kind = 'round' WHERE false");
    postgres_server().command("UPDATE " + table + " SET version = 1, kind = 'round'");
    auto const damaged = repository.load(std::int64_t{1});
    CHECK(damaged.errc() == Errc::corrupt_state);
    CHECK_THAT(damaged.detail(), Catch::Matchers::ContainsSubstring("kind"));
    postgres_server().command("UPDATE " + table + " SET kind = 'plain'");
    // Changed under prepared statements: the next call is right, whatever the plans were.
    postgres_server().command("ALTER TABLE " + table + " ALTER inventory_count TYPE bigint");
    CHECK(repository.load(std::int64_t{1}).value().value.inventory_count == 1);
    postgres_server().command("ALTER TABLE " + table + " RENAME note TO remark");
    auto const missing = repository.load(std::int64_t{1});
    CHECK(missing.errc() == Errc::misconfigured);
    CHECK_THAT(missing.detail(), Catch::Matchers::ContainsSubstring("note"));
    postgres_server().command(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'mine'; END "
        "$$; ");
    postgres_server().command("ALTER TABLE " + table + " RENAME remark TO note");
    postgres_server().command(
        "CREATE TRIGGER refuse BEFORE UPDATE ON " + table + " FOR EACH ROW EXECUTE FUNCTION refuse()");
    auto const product = repository.load(std::int64_t{1}).value();
    CHECK(
        repository.compare_and_set(std::int64_t{1}, product.version, product.value).errc() ==
        Errc::constraint_violated);
    CHECK(repository.load(std::int64_t{1}).value().version == product.version);
}

TEST_CASE(
    "a version sequence keeps versions from being used again on the user's own table",
    "[postgres][state_repository][own_table]")
{
    auto const pool = fresh_pool();
    auto const table = fresh_table("word text PRIMARY KEY, \"order\" bigint, version bigint NOT NULL");
    postgres_server().command("CREATE SEQUENCE " + table + "_version");
    postgres::StateRepository<Word> const words{
        pool, {.table = table, .key = "word", .version_sequence = table + "_version"}};
    CHECK(words.verify_fencing());
    Version highest = no_version;
    for (int i = 0; i < 3; ++i) {
        auto const first = words.insert(Word{"a", 1}).value();
        CHECK(first > highest);
        highest = words.compare_and_set("a", first, Word{"a", 2}).value();
        CHECK(highest > first);
        CHECK(words.erase("a", highest));
    }
    postgres_server().command("ALTER SEQUENCE " + table + "_version CACHE 10");
    auto const refused = words.verify_fencing();
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring(table + "_version"));
}

TEST_CASE("a token sequence with a cache is refused, since it is no fence", "[postgres][state_repository]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    REQUIRE(stock.insert(Stock{"x", 1}));
    CHECK(LockStateService{stock}.try_acquire("x"));
    postgres_server().command("ALTER SEQUENCE " + pool.options().name_space + "_token CACHE 10");
    Errc refused = Errc::ok;
    try {
        LockStateService{stock}.acquire("x");
    } catch (Error const& error) {
        refused = error.errc();
    }
    CHECK(refused == Errc::misconfigured);
}

TEST_CASE(
    "a waiter is woken by the holder that frees the lock, also from another pool",
    "[postgres][state_repository][wake]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const here{pool};
    postgres::StateRepository<Stock> const elsewhere{postgres::Pool{pool.options()}};
    // A poll interval that no test waits for: only the wake-up can end the wait.
    LockOptions const options{.poll = {.initial = 60s, .cap = 60s, .immediate = 0}};
    LockStateService const holder{here, options};
    LockStateService const waiter{elsewhere, options};
    for (int i = 0; i < 3; ++i) {
        auto held = holder.acquire("x");
        std::optional<bool> got;
        std::thread waiting(
            [&] { got = static_cast<bool>(waiter.acquire("x", {.deadline = 30s}).fencing_token()); });
        CHECK(eventually([&] { return here.wanted(Key{"x"}, held.fence().owner); }));
        auto const began = std::chrono::steady_clock::now();
        CHECK(holder.release(std::move(held)));
        waiting.join();
        CHECK(got == true);
        CHECK(std::chrono::steady_clock::now() - began < 5s);
    }
}

TEST_CASE(
    "a straggler cannot commit over a tombstone that was planted after its snapshot",
    "[postgres][state_repository][operation]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    Key const x{"x"};
    OperationId const id{"op"};
    auto const version = stock.insert(Stock{"x", 1}).value();
    // The straggler's statement began before the tombstone was committed: its snapshot does not have it.
    std::optional<Outcome<CommitResult>> straggler;
    auto const table = pool.options().name_space + "_operation";
    {
        namespace detail = postgres::detail;
        detail::Connection other;
        auto const until = interlock::detail::add(SystemRuntime::now(), 20s);
        other.open(*detail::parse_settings(postgres_server().url()), "test", until).value();
        detail::Batch begin;
        begin.add("BEGIN");
        begin.add(
            "INSERT INTO " + table + " VALUES ('" + pool.options().name_space +
            "_state', 'x', 'op', 3, false, '', 0, clock_timestamp() + interval '1 day')");
        REQUIRE_FALSE(other.run(begin, until, detail::Connection::Bounded::by_caller).error);
        std::thread committing([&] {
            Stock const value{"x", 2};
            std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value}};
            OperationCommit const operation{&x, &id, 3, "answer"};
            straggler.emplace(stock.commit(changes, &operation, 20s));
        });
        CHECK(eventually([&] {
            return postgres_server().command(
                       "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'") != "0";
        }));
        detail::Batch commit;
        commit.add("COMMIT");
        REQUIRE_FALSE(other.run(commit, until, detail::Connection::Bounded::by_caller).error);
        committing.join();
    }
    CHECK(straggler->errc() == Errc::superseded);
    CHECK(stock.load("x").value().value.quantity == 1);
    CHECK(stock.load("x").value().version == version);
}

TEST_CASE("an answer is kept for its retention and no longer", "[postgres][state_repository][operation]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool, {.retention = 1s}};
    REQUIRE(stock.insert(Stock{"x", 10}));
    TransactionService const service{OptimisticVersioning{}, stock};
    auto const take = [](Stock& s) { return --s.quantity; };
    CHECK(service.do_in_transaction(OperationId{"op"}, "x", take) == 9);
    CHECK(service.do_in_transaction(OperationId{"op"}, "x", take) == 9);
    CHECK(postgres::purge(pool).value() == 0);
    std::this_thread::sleep_for(1100ms);
    CHECK_FALSE(stock.find_operation(Key{"x"}, OperationId{"op"}).value());
    CHECK(service.do_in_transaction(OperationId{"op"}, "x", take) == 8);
    std::this_thread::sleep_for(1100ms);
    CHECK(postgres::purge(pool).value() == 1);
}

TEST_CASE(
    "records are shown in the order of the commits of their key", "[postgres][state_repository][operation]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    REQUIRE(stock.insert(Stock{"x", 0}));
    run_threads(4, [&](std::size_t i) {
        TransactionService const service{OptimisticVersioning{}, stock};
        for (int n = 0; n < 10; ++n)
            static_cast<void>(service.do_in_transaction(
                OperationId{std::to_string(i) + "-" + std::to_string(n)}, "x",
                [](Stock& s) { return ++s.quantity; }, {.deadline = 60s}));
    });
    std::map<std::uint64_t, std::string> in_order;
    CHECK(stock.for_each_operation([&](Key const& key, OperationId const&, OperationRecord const& record) {
        CHECK(key.bytes() == "x");
        in_order.emplace(record.sequence, record.answer);
    }));
    REQUIRE(in_order.size() == 40);
    int expected = 0;
    for (auto const& [sequence, answer] : in_order)
        CHECK(answer == std::to_string(++expected));
}

TEST_CASE(
    "an operation sees the row that the locking read returned", "[postgres][state_repository][row_lock]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    postgres::StateRepository<Stock> const strict{pool, {.isolation = postgres::Isolation::repeatable_read}};
    REQUIRE(stock.insert(Stock{"x", 1}));
    // The row is to be waited for.
    TransactionService const service{PessimisticRowLock{}, stock, {.combine = 1}};
    TransactionService const strict_service{PessimisticRowLock{}, strict, {.combine = 1}};
    for (auto const* second : {&service, &strict_service}) {
        int seen = 0;
        int runs = 0;
        std::thread waiting;
        static_cast<void>(service.do_in_transaction(
            "x",
            [&](Stock& s) {
                waiting = std::thread([&] {
                    seen = second->do_in_transaction(
                        "x",
                        [&](Stock& t) {
                            ++runs;
                            return t.quantity;
                        },
                        {.deadline = 20s});
                });
                CHECK(eventually([&] {
                    return postgres_server().command(
                               "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                               "query LIKE '%FOR UPDATE%'") != "0";
                }));
                return ++s.quantity;
            },
            {.deadline = 20s}));
        waiting.join();
        CHECK(seen == stock.load("x").value().value.quantity);
        CHECK(runs == 1);  // under repeatable read the locking read itself was refused and made again
    }
}

TEST_CASE(
    "a row that is deleted while somebody waits for it is gone, and not an empty state",
    "[postgres][state_repository][row_lock]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    auto const version = stock.insert(Stock{"x", 1}).value();
    Key const x{"x"};
    std::array const rows{&x};
    std::optional<Errc> waited;
    std::thread waiting;
    {
        auto tx = stock.load_for_update(rows, Wait::until_deadline, 20s).value();
        waiting = std::thread([&] {
            waited = TransactionService{PessimisticRowLock{}, stock}
                         .try_do_in_transaction("x", [](Stock&) {}, {.deadline = 20s})
                         .errc();
        });
        std::this_thread::sleep_for(50ms);
        std::array changes{Change<Stock>{.key = &x, .kind = ChangeKind::erase, .version = version}};
        REQUIRE(tx.commit(changes, nullptr, 20s));
    }
    waiting.join();
    CHECK(waited == Errc::not_found);
}

TEST_CASE(
    "a transaction that is left alone is ended by the server, and its row is free",
    "[postgres][state_repository][row_lock]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    REQUIRE(stock.insert(Stock{"x", 1}));
    Key const x{"x"};
    std::array const rows{&x};
    // Its holder stops here.
    auto abandoned = stock.load_for_update(rows, Wait::until_deadline, 200ms).value();
    auto const began = std::chrono::steady_clock::now();
    auto next = stock.load_for_update(rows, Wait::until_deadline, 20s);
    REQUIRE(next);
    CHECK(std::chrono::steady_clock::now() - began < 5s);
    Stock const late{"x", 9};
    std::array changes{Change<Stock>{.key = &x, .version = abandoned.state(0)->version, .value = &late}};
    auto const refused = abandoned.commit(changes, nullptr, 20s);
    CHECK(refused.errc() == Errc::deadline_exceeded);
    CHECK(refused.effect() == Effect::not_applied);
    next->rollback();
    CHECK(stock.load("x").value().value.quantity == 1);
}

TEST_CASE(
    "two keys without a value are locked, and of two creators one succeeds",
    "[postgres][state_repository][row_lock]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    TransactionService const service{PessimisticRowLock{.missing = Missing::create}, stock};
    std::atomic<int> first{0};
    run_threads(6, [&](std::size_t) {
        first +=
            service.do_in_transaction("new", [](Stock& s) { return ++s.quantity; }, {.deadline = 20s}) == 1
                ? 1
                : 0;
    });
    CHECK(first == 1);
    CHECK(stock.load("new").value().value.quantity == 6);
}

TEST_CASE("opposite orders of two keys end without a deadlock", "[postgres][state_repository][row_lock]")
{
    auto const pool = fresh_pool();
    postgres::StateRepository<Stock> const stock{pool};
    REQUIRE(stock.insert(Stock{"a", 100}));
    REQUIRE(stock.insert(Stock{"b", 100}));
    TransactionService const row_lock{PessimisticRowLock{.max_attempts = 1}, stock};
    TransactionService const optimistic{OptimisticVersioning{}, stock};
    std::atomic<int> failed{0};
    run_threads(4, [&](std::size_t i) {
        auto const move_one = [](Stock& from, Stock& to) {
            --from.quantity;
            ++to.quantity;
        };
        for (int n = 0; n < 25; ++n) {
            auto const pair = i % 2 == 0 ? keys("a", "b") : keys("b", "a");
            failed += (i < 2 ? row_lock.try_do_in_transaction(pair, move_one, {.deadline = 60s})
                             : optimistic.try_do_in_transaction(pair, move_one, {.deadline = 60s}))
                          ? 0
                          : 1;
        }
    });
    CHECK(failed == 0);
    CHECK(stock.load("a").value().value.quantity + stock.load("b").value().value.quantity == 200);
}

TEST_CASE("server_check() reports the settings on which the promises depend", "[postgres][state_repository]")
{
    auto const check = postgres::StateRepository<Stock>{fresh_pool()}.server_check().value();
    CHECK(check.version >= 150000);
    CHECK(check.synchronous_commit == "on");
    CHECK_FALSE(check.fsync);  // of the tests' own server
}

TEST_CASE("the DDL may be run again, and by a role that owns nothing afterwards", "[postgres][schema]")
{
    auto const pool = fresh_pool();
    auto const& ns = pool.options().name_space;
    CHECK(postgres::create_schema(pool));
    CHECK_THROWS_AS(postgres::schema_sql("a;b"), Error);
    // The minimal role, as backends/postgres/README.md has it.
    auto const role = ns + "_role";
    postgres_server().command("CREATE ROLE " + role + " LOGIN");
    for (std::string const table : {"_state", "_lock", "_operation", "_idempotency", "_counter", "_once"})
        postgres_server().command("GRANT SELECT, INSERT, UPDATE, DELETE ON " + ns + table + " TO " + role);
    for (std::string const sequence : {"_version", "_token", "_record"})
        postgres_server().command("GRANT USAGE ON SEQUENCE " + ns + sequence + " TO " + role);
    auto url = postgres_server().url() + "&name_space=" + ns;
    url.replace(url.find("interlock@"), 9, role);
    postgres::StateRepository<Stock> const stock{postgres::Pool{url}};
    CHECK(stock.verify_fencing());
    REQUIRE(stock.insert(Stock{"x", 3}));
    CHECK(TransactionService{SetNxLock{}, stock}.do_in_transaction(OperationId{"a"}, "x", [](Stock& s) {
        return --s.quantity;
    }) == 2);
    CHECK(TransactionService{PessimisticRowLock{}, stock}.do_in_transaction("x", [](Stock& s) {
        return --s.quantity;
    }) == 1);
    postgres::Pool const poor{url};
    postgres_server().command("REVOKE INSERT ON " + ns + "_state FROM " + role);
    CHECK(stock.insert(Stock{"y", 3}).errc() == Errc::misconfigured);
}

}  // namespace postgres_state_repository_test
