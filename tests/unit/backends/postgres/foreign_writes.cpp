// SPDX-License-Identifier: BSL-1.0

// Which columns of a user's row are written: those that the operation has changed, and none that the server
// makes, that are only read, or that the role may not write.
//
// How it works: each case makes a table of its own, changes a row under every policy, and looks by plain
// SQL, or by a trigger that notes which columns an UPDATE named, at what was written.

#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe/class.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace postgres_foreign_writes_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;

struct Line {
    std::int64_t id{0};
    int quantity{0};
    int price{0};
    int total{0};
    std::optional<std::string> note{};
};
BOOST_DESCRIBE_STRUCT(Line, (), (id, quantity, price, total, note))

struct Lines {
    explicit Lines(std::string const& total = "total int NOT NULL DEFAULT 0")
    {
        sql("CREATE TABLE {t} (id bigint PRIMARY KEY, quantity int NOT NULL, price int NOT NULL, " + total +
            ", note text, hits int NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1)");
    }
    std::string sql(std::string text) const
    {
        for (auto at = text.find("{t}"); at != std::string::npos; at = text.find("{t}"))
            text.replace(at, 3, name);
        return postgres_server().command(text);
    }
    void row(int id) const
    {
        sql("INSERT INTO {t} (id, quantity, price) VALUES (" + std::to_string(id) + ", 2, 50)");
    }
    std::string value(std::string const& column, int id) const
    {
        return sql("SELECT " + column + " FROM {t} WHERE id = " + std::to_string(id));
    }
    postgres::StateRepository<Line> repository(postgres::RepositoryOptions options = {}) const
    {
        return repository(pool, std::move(options));
    }
    postgres::StateRepository<Line> repository(
        postgres::Pool const& by, postgres::RepositoryOptions options) const
    {
        options.table = name;
        options.key = "id";
        return postgres::StateRepository<Line>{by, options};
    }
    /// Each UPDATE adds the columns that it changes to a log.
    void log_updates() const
    {
        sql("CREATE TABLE {t}_log (column_name text)");
        sql("CREATE FUNCTION {t}_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO {t}_log VALUES (TG_ARGV[0]); RETURN NULL; END $$");
        for (std::string const column : {"quantity", "price", "total", "note"})
            sql("CREATE TRIGGER note_" + column + " AFTER UPDATE OF " + column +
                " ON {t} FOR EACH STATEMENT EXECUTE FUNCTION {t}_note('" + column + "')");
    }
    std::string logged() const
    {
        auto const all =
            sql("SELECT coalesce(string_agg(column_name, ' ' ORDER BY column_name), '') FROM {t}_log");
        sql("TRUNCATE {t}_log");
        return all;
    }

    postgres::Pool pool{fresh_pool()};
    std::string name{pool.options().name_space + "_lines"};
};

template <class Check>
void under_each_policy(
    postgres::StateRepository<Line> const& lines, Check check, Missing missing = Missing::fail)
{
    check(TransactionService{OptimisticVersioning{.missing = missing}, lines}, "optimistic");
    check(TransactionService{OptimisticVersioning{.missing = missing, .remember = 100}, lines}, "remember");
    check(TransactionService{PessimisticRowLock{.missing = missing}, lines}, "row lock");
    check(TransactionService{SetNxLock{.missing = missing}, lines}, "lease");
}

TEST_CASE("an UPDATE names the columns that the operation has changed", "[postgres][foreign_writes]")
{
    Lines const t;
    t.log_updates();
    auto const lines = t.repository();
    int id = 0;
    int count = 0;
    under_each_policy(lines, [&](auto const& service, std::string const& name) {
        t.row(++id);
        for (bool with_id : {false, true}) {
            CAPTURE(name, with_id);
            auto const run = [&](auto change) {
                if (with_id)
                    service.do_in_transaction(
                        OperationId{"c" + std::to_string(count++)}, std::int64_t{id}, change);
                else
                    service.do_in_transaction(std::int64_t{id}, change);
                return t.logged();
            };
            CHECK(run([](Line& l) { ++l.quantity; }) == "quantity");
            CHECK(run([](Line& l) {
                      ++l.price;
                      l.note = "n" + std::to_string(l.price);
                  }) == "note price");
            CHECK(run([](Line& l) { l.note.reset(); }) == "note");
            CHECK(
                run([](Line& l) { l = Line{l.id, l.quantity + 1, l.price, l.total, l.note}; }) == "quantity");
            CHECK(run([](Line const&) {}) == "");
        }
        CHECK(t.value("quantity", id) == "6");
        CHECK(t.value("version", id) == "9");
    });
    // Of several states each one's.
    t.row(100);
    t.row(101);
    TransactionService{OptimisticVersioning{}, lines}.do_in_transaction(
        keys(std::int64_t{100}, std::int64_t{101}), [](Line& a, Line& b) {
            ++a.quantity;
            ++b.price;
        });
    CHECK(t.logged() == "price quantity");
    // A direct call does not say what was loaded.
    auto loaded = lines.load(std::int64_t{100}).value();
    lines.compare_and_set(std::int64_t{100}, loaded.version, loaded.value).value();
    CHECK(t.logged() == "note price quantity total");
    // Nor does whoever asks for all.
    TransactionService{PessimisticRowLock{}, t.repository({.write = postgres::Write::all})}.do_in_transaction(
        std::int64_t{100}, [](Line& l) { ++l.quantity; });
    CHECK(t.logged() == "note price quantity total");
}

TEST_CASE(
    "what others write into other columns without moving the version stays", "[postgres][foreign_writes]")
{
    Lines const t;
    auto const lines = t.repository();
    int id = 0;
    under_each_policy(lines, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        t.row(++id);
        service.do_in_transaction(std::int64_t{id}, [](Line& l) { ++l.quantity; });
        t.sql("UPDATE {t} SET note = 'theirs', total = 7 WHERE id = " + std::to_string(id));
        service.do_in_transaction(std::int64_t{id}, [](Line& l) { ++l.quantity; });
        CHECK(t.value("note", id) == "theirs");
        CHECK(t.value("total", id) == "7");
        CHECK(t.value("quantity", id) == "4");
    });
}

TEST_CASE("combined operations write what all of them have changed", "[postgres][foreign_writes]")
{
    Lines const t;
    t.row(1);
    auto const lines = t.repository();
    TransactionService const service{OptimisticVersioning{}, lines, {.combine = 16}};
    interlock_test::run_threads(8, [&](std::size_t thread) {
        auto const n = static_cast<int>(thread);
        for (int i = 0; i < 20; ++i)
            service.do_in_transaction(std::int64_t{1}, [&](Line& l) {
                if (n % 2 == 0)
                    ++l.quantity;
                else
                    ++l.price;
            });
    });
    CHECK(t.value("quantity", 1) == "82");
    CHECK(t.value("price", 1) == "130");
}

TEST_CASE("columns that the server makes are read and never written", "[postgres][foreign_writes]")
{
    for (std::string const total :
         {"total int GENERATED ALWAYS AS (quantity * price) STORED",
          "total int GENERATED ALWAYS AS IDENTITY"}) {
        CAPTURE(total);
        Lines const t{total};
        auto const lines = t.repository();
        bool const computed = total.find("STORED") != std::string::npos;
        int id = 0;
        under_each_policy(
            lines,
            [&](auto const& service, std::string const& name) {
                CAPTURE(name);
                ++id;
                service.do_in_transaction(std::int64_t{id}, [](Line& l) {
                    l.quantity = 2;
                    l.price = 50;
                });
                int seen = 0;
                service.do_in_transaction(std::int64_t{id}, [&](Line& l) {
                    seen = l.total;
                    ++l.quantity;
                });
                CHECK(seen == (computed ? 100 : id));
                // What is written there is ignored, as in the version.
                service.do_in_transaction(
                    OperationId{name}, std::int64_t{id}, [](Line& l) { l.total = 1000; });
                service.do_in_transaction(std::int64_t{id}, [&](Line& l) { seen = l.total; });
                CHECK(seen == (computed ? 150 : id));
            },
            Missing::create);
        CHECK(lines.insert(Line{50, 1, 10}));
        auto const loaded = lines.load(std::int64_t{50}).value();
        CHECK(lines.compare_and_set(std::int64_t{50}, loaded.version, Line{50, 2, 10}).value() == 2);
        CHECK(t.value("total", 50) == (computed ? "20" : "5"));
    }
}

TEST_CASE("members that are only read are not written, and may not be changed", "[postgres][foreign_writes]")
{
    Lines const t;
    auto const lines = t.repository({.read_only = "total, note"});
    int id = 0;
    under_each_policy(
        lines,
        [&](auto const& service, std::string const& name) {
            CAPTURE(name);
            t.row(++id);
            t.sql("UPDATE {t} SET note = 'x', total = 3 WHERE id = " + std::to_string(id));
            CHECK(
                service.try_do_in_transaction(std::int64_t{id}, [](Line& l) { ++l.quantity; }).errc() ==
                Errc::ok);
            int runs = 0;
            auto const refused = service.try_do_in_transaction(std::int64_t{id}, [&](Line& l) {
                ++runs;
                ++l.quantity;
                ++l.total;
            });
            CHECK(refused.errc() == Errc::invalid_argument);
            CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("total"));
            CHECK(runs == 1);
            CHECK(
                service
                    .try_do_in_transaction(OperationId{name}, std::int64_t{id}, [](Line& l) { l.note = "y"; })
                    .errc() == Errc::invalid_argument);
            CHECK(t.value("quantity", id) == "3");
            CHECK(t.value("total", id) == "3");
            // A new row has the columns' defaults.
            service.do_in_transaction(std::int64_t{id + 100}, [](Line& l) { l.price = 1; });
            CHECK(t.value("total", id + 100) == "0");
        },
        Missing::create);
    for (std::string const bad : {"totl", "id", "total,,note"})
        CHECK_THROWS_AS(t.repository({.read_only = bad}), Error);
}

TEST_CASE(
    "columns that the role may not write are left alone until they are changed", "[postgres][foreign_writes]")
{
    Lines const t;
    create_schema(t.pool).value();
    auto const role = t.name + "_clerk";
    auto const& ns = t.pool.options().name_space;
    t.sql("CREATE ROLE " + role + " LOGIN");
    t.sql(
        "GRANT SELECT, DELETE, UPDATE (quantity, price, version), INSERT (id, quantity, price, version) ON "
        "{t} TO " +
        role);
    t.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON " + ns + "_lock, " + ns + "_operation TO " + role);
    t.sql("GRANT USAGE ON SEQUENCE " + ns + "_token, " + ns + "_record TO " + role);
    auto url = postgres_server().url();
    url.replace(url.find("interlock@"), 10, role + "@");
    postgres::Pool const clerk{{.url = url, .name_space = ns}};
    auto const lines = t.repository(clerk, {});
    int id = 0;
    under_each_policy(
        lines,
        [&](auto const& service, std::string const& name) {
            CAPTURE(name);
            t.row(++id);
            auto const allowed =
                service.try_do_in_transaction(std::int64_t{id}, [](Line& l) { ++l.quantity; });
            CAPTURE(allowed.detail());
            CHECK(allowed.errc() == Errc::ok);
            auto const refused =
                service.try_do_in_transaction(std::int64_t{id}, [](Line& l) { l.total = 9; });
            CHECK(refused.errc() == Errc::misconfigured);
            CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("total"));
            auto const made =
                service.try_do_in_transaction(std::int64_t{id + 100}, [](Line& l) { l.price = 1; });
            CHECK(made.errc() == Errc::ok);
            auto const noted =
                service.try_do_in_transaction(std::int64_t{id + 200}, [](Line& l) { l.note = "n"; });
            CHECK(noted.errc() == Errc::misconfigured);
            CHECK_THAT(noted.detail(), Catch::Matchers::ContainsSubstring("note"));
        },
        Missing::create);
    CHECK(t.sql("SELECT sum(total) FROM {t}") == "0");
}

TEST_CASE(
    "an operation that changes many different sets of columns goes on without end",
    "[postgres][foreign_writes]")
{
    Lines const t;
    t.row(1);
    auto const lines = t.repository();
    TransactionService const service{OptimisticVersioning{.remember = 1}, lines};
    for (int set = 1; set < 16; ++set)
        service.do_in_transaction(std::int64_t{1}, [&](Line& l) {
            l.quantity += set & 1;
            l.price += set >> 1 & 1;
            l.total += set >> 2 & 1;
            if ((set & 8) != 0)
                l.note = std::to_string(set);
        });
    CHECK(t.value("quantity", 1) == "10");
    CHECK(t.value("price", 1) == "58");
    CHECK(t.value("total", 1) == "8");
    CHECK(t.value("note", 1) == "15");
    CHECK(t.value("version", 1) == "16");
}

}  // namespace postgres_foreign_writes_test
