// SPDX-License-Identifier: BSL-1.0

// Tables with triggers, rules and views of the user's own: what they make of a row is the state, what they
// make nothing of is not applied, and what they refuse reaches the caller in their own words.
//
// How it works: each case makes a table of its own with one or two triggers, lets every policy change its
// rows through a repository, and looks at the rows by plain SQL.

#include <interlock/backends/postgres/idempotency_store.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/idempotency_in_transaction.hpp>
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

namespace postgres_foreign_triggers_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;

struct Payment {
    std::int64_t id{0};
    int amount{0};
    std::string status{"open"};
    std::string note{};
};
BOOST_DESCRIBE_STRUCT(Payment, (), (id, amount, status, note))

/// A table of payments, and what a case puts on it.
struct Payments {
    explicit Payments(std::string columns = "status text NOT NULL, note text NOT NULL")
    {
        sql("CREATE TABLE {t} (id bigint PRIMARY KEY, amount int NOT NULL, " + columns +
            ", version bigint NOT NULL DEFAULT 1)");
        sql("CREATE TABLE {t}_log (what text)");
    }
    /// `{t}` stands for the table's name.
    std::string sql(std::string text) const
    {
        for (auto at = text.find("{t}"); at != std::string::npos; at = text.find("{t}"))
            text.replace(at, 3, name);
        return postgres_server().command(text);
    }
    /// `when`: "BEFORE UPDATE", "AFTER INSERT OR UPDATE"; `body` is plpgsql.
    void trigger(std::string const& when, std::string const& body, std::string const& on = "{t}") const
    {
        auto const function = "{t}_f" + std::to_string(++count);
        sql("CREATE FUNCTION " + function + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body +
            " END $$");
        sql("CREATE TRIGGER t" + std::to_string(count) + " " + when + " ON " + on +
            " FOR EACH ROW EXECUTE FUNCTION " + function + "()");
    }
    void row(int id) const { sql("INSERT INTO {t} VALUES (" + std::to_string(id) + ", 10, 'open', '')"); }
    std::string value(std::string const& column, int id) const
    {
        return sql("SELECT " + column + " FROM {t} WHERE id = " + std::to_string(id));
    }
    postgres::StateRepository<Payment> repository(postgres::RepositoryOptions options = {}) const
    {
        options.table = name;
        options.key = "id";
        return postgres::StateRepository<Payment>{pool, options};
    }

    postgres::Pool pool{fresh_pool()};
    std::string name{pool.options().name_space + "_payments"};
    mutable int count{0};
};

/// Calls `check(service, name)` for a service under each policy.
template <class Check>
void under_each_policy(postgres::StateRepository<Payment> const& payments, Missing missing, Check check)
{
    check(TransactionService{OptimisticVersioning{.missing = missing}, payments}, "optimistic");
    check(
        TransactionService{OptimisticVersioning{.missing = missing, .remember = 100}, payments}, "remember");
    check(TransactionService{PessimisticRowLock{.missing = missing}, payments}, "row lock");
    check(TransactionService{SetNxLock{.missing = missing}, payments}, "lease");
}

/// One call changes a payment, and another one that waits behind it under the same lease sees what it made.
template <class Change>
Payment seen_behind(postgres::StateRepository<Payment> const& payments, int id, Change change)
{
    TransactionService const service{SetNxLock{}, payments, {.combine = 1}};
    std::atomic<bool> inside{false};
    std::thread first{[&] {
        service.do_in_transaction(std::int64_t{id}, [&](Payment& p) {
            inside = true;
            std::this_thread::sleep_for(200ms);
            change(p);
        });
    }};
    while (!inside)
        std::this_thread::sleep_for(1ms);
    Payment seen;
    service.do_in_transaction(std::int64_t{id}, [&](Payment& p) {
        seen = p;
        p.note = "called";
    });
    first.join();
    return seen;
}

TEST_CASE(
    "what a BEFORE trigger makes of a row is what the next operation sees", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.trigger(
        "BEFORE INSERT OR UPDATE",
        "IF NEW.amount > 1000 THEN NEW.status := 'review'; END IF; NEW.note := upper(NEW.note); RETURN NEW;");
    auto const payments = t.repository();
    int id = 0;
    under_each_policy(payments, Missing::fail, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        t.row(++id);
        service.do_in_transaction(std::int64_t{id}, [](Payment& p) {
            p.amount = 5000;
            p.note = "big";
        });
        Payment seen;
        service.do_in_transaction(std::int64_t{id}, [&](Payment& p) {
            seen = p;
            p.note = "called";
        });
        CHECK(seen.status == "review");
        CHECK(seen.note == "BIG");
        CHECK(t.value("status", id) == "review");
        CHECK(t.value("note", id) == "CALLED");
    });
    t.row(++id);
    auto const seen = seen_behind(payments, id, [](Payment& p) { p.amount = 5000; });
    CHECK(seen.status == "review");
    CHECK(t.value("status", id) == "review");
    // A new row, and an operation id.
    TransactionService const creates{
        OptimisticVersioning{.missing = Missing::create, .remember = 9}, payments};
    ++id;
    creates.do_in_transaction(OperationId{"new"}, std::int64_t{id}, [](Payment& p) { p.amount = 2000; });
    creates.do_in_transaction(OperationId{"next"}, std::int64_t{id}, [](Payment& p) { p.note = p.status; });
    CHECK(t.value("note", id) == "REVIEW");
}

TEST_CASE(
    "what an AFTER trigger makes of a row is what the next operation sees", "[postgres][foreign_triggers]")
{
    std::string const bodies[] = {
        "UPDATE {t} SET status = 'review' WHERE id = NEW.id AND status = 'open'; RETURN NULL;",
        "UPDATE {t} SET status = 'review', version = version + 1 WHERE id = NEW.id AND status = 'open'; "
        "RETURN NULL;"};
    for (std::string const& body : bodies)
        for (std::string const when : {"AFTER UPDATE", "deferred"}) {
            CAPTURE(body, when);
            Payments const t;
            if (when == "deferred") {
                t.sql(
                    "CREATE FUNCTION {t}_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body +
                    " END $$");
                t.sql(
                    "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON {t} DEFERRABLE INITIALLY DEFERRED FOR "
                    "EACH ROW "
                    "EXECUTE FUNCTION {t}_f()");
            } else {
                t.trigger(when, body);
            }
            auto const payments = t.repository();
            int id = 0;
            under_each_policy(payments, Missing::fail, [&](auto const& service, std::string const& name) {
                CAPTURE(name);
                t.row(++id);
                service.do_in_transaction(std::int64_t{id}, [](Payment& p) { p.amount = 5000; });
                std::string seen;
                service.do_in_transaction(std::int64_t{id}, [&](Payment& p) {
                    seen = p.status;
                    p.note = "called";
                });
                CHECK(seen == "review");
                CHECK(t.value("status", id) == "review");
            });
            t.row(++id);
            CHECK(seen_behind(payments, id, [](Payment& p) { p.amount = 5000; }).status == "review");
            CHECK(t.value("status", id) == "review");
            // The version that a direct call returns is the row's, unless it moves at the commit.
            t.row(++id);
            auto const loaded = payments.load(std::int64_t{id}).value();
            auto const version =
                payments.compare_and_set(std::int64_t{id}, loaded.version, loaded.value).value();
            if (when != "deferred")
                CHECK(std::to_string(version) == t.value("version", id));
        }
}

TEST_CASE("a trigger may count the version by itself", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.trigger("BEFORE UPDATE", "NEW.version := OLD.version + 5; RETURN NEW;");
    auto const payments = t.repository();
    int id = 0;
    under_each_policy(payments, Missing::fail, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        t.row(++id);
        int runs = 0;
        for (int i = 0; i < 3; ++i)
            service.do_in_transaction(std::int64_t{id}, [&](Payment& p) {
                ++runs;
                ++p.amount;
            });
        CHECK(runs == 3);
        CHECK(t.value("amount", id) == "13");
        CHECK(t.value("version", id) == "16");
    });
}

TEST_CASE(
    "a column that rounds, pads or folds what it is given tells the next operation so",
    "[postgres][foreign_triggers]")
{
    Payments const t{"status char(6) NOT NULL, note numeric(10,2) NOT NULL"};
    auto const payments = t.repository();
    t.sql("INSERT INTO {t} VALUES (1, 10, 'open', 0)");
    TransactionService const service{OptimisticVersioning{.remember = 10}, payments};
    service.do_in_transaction(std::int64_t{1}, [](Payment& p) {
        p.note = "1.239";
        p.status = "ok";
    });
    Payment seen;
    int runs = 0;
    service.do_in_transaction(std::int64_t{1}, [&](Payment& p) {
        ++runs;
        seen = p;
        ++p.amount;
    });
    CHECK(seen.note == "1.24");
    CHECK(seen.status == "ok    ");
    CHECK(runs == 1);
}

TEST_CASE(
    "a trigger that comes later is noticed where the answer to a request is stored with the change",
    "[postgres][foreign_triggers]")
{
    Payments const t;
    auto const payments = t.repository();
    postgres::TransactionalIdempotencyStore const answers{t.pool};
    TransactionService const service{IdempotencyInTransaction{PessimisticRowLock{}, answers}, payments};
    auto const request = [](std::string const& name) {
        return IdempotentRequest(name, Scope("pay"), fingerprint(name));
    };
    auto const add = [](Payment& p) { p.amount += 5; };
    t.row(1);
    CHECK(service.try_do_in_transaction(request("warm"), std::int64_t{1}, add));
    t.trigger("BEFORE UPDATE", "RETURN NULL;");
    for (std::string const name : {"first", "second"}) {
        auto const end = service.try_do_in_transaction(request(name), std::int64_t{1}, add);
        CHECK(end.errc() == Errc::constraint_violated);
        CHECK(end.effect() == Effect::not_applied);
    }
    CHECK(t.value("amount", 1) == "15");
}

TEST_CASE("an insert that a trigger routes elsewhere is applied once", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.sql("CREATE TABLE {t}_low (CHECK (id < 1000), PRIMARY KEY (id)) INHERITS ({t})");
    t.trigger("BEFORE INSERT", "INSERT INTO {t}_low VALUES (NEW.*); RETURN NULL;");
    auto const payments = t.repository();
    CHECK(payments.insert(Payment{1, 10}).value() == 1);
    CHECK(payments.insert(Payment{1, 11}).errc() == Errc::already_exists);
    int id = 10;
    for (bool with_id : {false, true})
        under_each_policy(payments, Missing::create, [&](auto const& service, std::string const& name) {
            CAPTURE(name, with_id);
            ++id;
            auto const add = [](Payment& p) { p.amount += 5; };
            OperationId const operation{"add " + std::to_string(id)};
            auto const done = with_id ? service.try_do_in_transaction(operation, std::int64_t{id}, add)
                                      : service.try_do_in_transaction(std::int64_t{id}, add);
            CHECK(done.errc() == Errc::ok);
            CHECK(t.value("amount", id) == "5");
            if (with_id) {
                CHECK(service.try_do_in_transaction(operation, std::int64_t{id}, add));
                CHECK(t.value("amount", id) == "5");
            }
            // And on.
            CHECK(service.try_do_in_transaction(std::int64_t{id}, add));
            CHECK(t.value("amount", id) == "10");
        });
    // Several keys at once.
    auto const both =
        TransactionService{PessimisticRowLock{.missing = Missing::create}, payments}.try_do_in_transaction(
            keys(std::int64_t{100}, std::int64_t{101}),
            [](Payment& a, Payment& b) { a.amount = b.amount = 7; });
    CHECK(both.errc() == Errc::ok);
    CHECK(t.value("amount", 100) + t.value("amount", 101) == "77");
    CHECK(t.sql("SELECT count(*) FROM ONLY {t}") == "0");
}

TEST_CASE("a change that a trigger skips is not applied, and leaves no trace", "[postgres][foreign_triggers]")
{
    for (std::string const what : {"INSERT", "UPDATE", "DELETE"}) {
        CAPTURE(what);
        Payments const t;
        t.row(1);
        t.trigger("BEFORE " + what, "INSERT INTO {t}_log VALUES (TG_OP); RETURN NULL;");
        auto const payments = t.repository();
        auto const refused = [&](auto const& outcome) {
            CHECK(outcome.errc() == Errc::constraint_violated);
            CHECK(outcome.effect() == Effect::not_applied);
            CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring("trigger"));
            CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring(t.name));
        };
        if (what == "DELETE") {
            refused(payments.erase(std::int64_t{1}, 1));
            CHECK(payments.erase(std::int64_t{1}, 2).errc() == Errc::version_conflict);
            CHECK(payments.erase(std::int64_t{9}, 2).errc() == Errc::not_found);
        } else if (what == "UPDATE") {
            refused(payments.compare_and_set(std::int64_t{1}, 1, Payment{1, 11}));
            CHECK(
                payments.compare_and_set(std::int64_t{1}, 2, Payment{1, 11}).errc() ==
                Errc::version_conflict);
            CHECK(payments.compare_and_set(std::int64_t{9}, 2, Payment{9, 11}).errc() == Errc::not_found);
        } else {
            refused(payments.insert(Payment{2, 11}));
            CHECK(payments.insert(Payment{1, 11}).errc() == Errc::already_exists);
        }
        if (what != "DELETE")
            for (bool with_id : {false, true})
                under_each_policy(
                    payments, Missing::create, [&](auto const& service, std::string const& name) {
                        CAPTURE(name, with_id);
                        int runs = 0;
                        auto const add = [&](Payment& p) {
                            ++runs;
                            p.amount += 5;
                        };
                        std::int64_t const key = what == "UPDATE" ? 1 : 5;
                        OperationId const operation{"add " + name};
                        refused(
                            with_id ? service.try_do_in_transaction(operation, key, add)
                                    : service.try_do_in_transaction(key, add));
                        CHECK(runs == 1);
                        CHECK(payments.find_operation(Key{"1"}, operation).value() == std::nullopt);
                    });
        CHECK(t.sql("SELECT count(*) FROM {t}") == "1");
        CHECK(t.value("amount", 1) == "10");
        CHECK(t.sql("SELECT count(*) FROM {t}_log") == "0");
        // Nothing stays locked.
        CHECK(TransactionService{SetNxLock{.wait = Wait::no}, payments}.try_do_in_transaction(
            std::int64_t{1}, [](Payment const&) {}));
    }
}

TEST_CASE("a trigger that came after the first use is noticed", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.row(1);
    auto const payments = t.repository();
    REQUIRE(payments.load(std::int64_t{1}));
    t.trigger("BEFORE UPDATE OR DELETE", "RETURN NULL;");
    CHECK(payments.compare_and_set(std::int64_t{1}, 1, Payment{1, 11}).errc() == Errc::constraint_violated);
    CHECK(payments.erase(std::int64_t{1}, 1).errc() == Errc::constraint_violated);
    t.sql("CREATE TABLE {t}_low (PRIMARY KEY (id)) INHERITS ({t})");
    t.trigger("BEFORE INSERT", "INSERT INTO {t}_low VALUES (NEW.*); RETURN NULL;");
    CHECK(payments.insert(Payment{2, 11}));
    CHECK(t.value("amount", 2) == "11");
}

TEST_CASE("a view whose triggers store the rows is a table", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.sql("CREATE VIEW {t}_view AS SELECT id, amount, status, note, version FROM {t} WHERE status <> 'gone'");
    t.trigger(
        "INSTEAD OF INSERT OR UPDATE OR DELETE",
        "IF TG_OP = 'INSERT' THEN INSERT INTO {t} VALUES (NEW.*); RETURN NULL; "
        "ELSIF TG_OP = 'UPDATE' THEN UPDATE {t} SET amount = NEW.amount, note = 'seen', version = "
        "NEW.version "
        "WHERE id = OLD.id; RETURN NULL; "
        "ELSE UPDATE {t} SET status = 'gone' WHERE id = OLD.id; RETURN NULL; END IF;",
        "{t}_view");
    postgres::StateRepository<Payment> const payments{t.pool, {.table = t.name + "_view", .key = "id"}};
    auto const first = payments.insert(Payment{1, 10});
    CAPTURE(first.detail());
    REQUIRE(first.errc() == Errc::ok);
    CHECK(first.value() == 1);
    CHECK(payments.insert(Payment{1, 10}).errc() == Errc::already_exists);
    CHECK(payments.compare_and_set(std::int64_t{1}, 1, Payment{1, 11}).value() == 2);
    CHECK(t.value("note", 1) == "seen");
    int runs = 0;
    under_each_policy(payments, Missing::create, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        auto const add = [&](Payment& p) {
            ++runs;
            p.amount += 5;
        };
        CHECK(service.try_do_in_transaction(OperationId{name}, std::int64_t{1}, add).errc() == Errc::ok);
        CHECK(service.try_do_in_transaction(std::int64_t{1}, add).errc() == Errc::ok);
    });
    CHECK(runs == 8);
    CHECK(t.value("amount", 1) == "51");
    auto const version = payments.load(std::int64_t{1}).value().version;
    CHECK(payments.erase(std::int64_t{1}, version).value() == version);
    CHECK(t.value("status", 1) == "gone");
}

TEST_CASE(
    "a rule of the table that cannot be worked with is refused in words", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.row(1);
    t.sql("CREATE RULE none AS ON UPDATE TO {t} DO INSTEAD NOTHING");
    auto const payments = t.repository();
    auto const direct = payments.compare_and_set(std::int64_t{1}, 1, Payment{1, 11});
    CHECK(direct.effect() == Effect::not_applied);
    CHECK(direct.errc() == Errc::misconfigured);
    under_each_policy(payments, Missing::fail, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        auto const done = service.try_do_in_transaction(std::int64_t{1}, [](Payment& p) { ++p.amount; });
        CHECK(done.effect() == Effect::not_applied);
        CHECK(done.errc() == Errc::misconfigured);
    });
    CHECK(t.value("amount", 1) == "10");
}

TEST_CASE("a rule for updates keeps no row from being inserted", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.sql("CREATE RULE again AS ON UPDATE TO {t} DO ALSO NOTIFY changed");
    auto const payments = t.repository();
    CHECK(payments.insert(Payment{1, 10}));
    CHECK(payments.insert(Payment{1, 10}).errc() == Errc::already_exists);
    std::int64_t id = 1;
    under_each_policy(payments, Missing::create, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        Payment const next{++id, 10};
        CHECK(service.try_do_in_transaction(OperationId{name}, next, [](Payment& p) { ++p.amount; }));
        CHECK(t.value("amount", static_cast<int>(id)) == "11");
    });
}

TEST_CASE(
    "a delete that a rule or a trigger makes an update of is not an erase", "[postgres][foreign_triggers]")
{
    for (std::string const how : {"rule", "trigger"}) {
        CAPTURE(how);
        Payments const t;
        t.row(1);
        if (how == "rule")
            t.sql(
                "CREATE RULE soft AS ON DELETE TO {t} DO INSTEAD UPDATE {t} SET status = 'gone' WHERE id = "
                "OLD.id "
                "RETURNING OLD.*");
        else
            t.trigger("BEFORE DELETE", "UPDATE {t} SET status = 'gone' WHERE id = OLD.id; RETURN NULL;");
        auto const payments = t.repository();
        auto const refused = payments.erase(std::int64_t{1}, 1);
        CHECK(refused.errc() == Errc::constraint_violated);
        CHECK_THAT(refused.detail(), Catch::Matchers::ContainsSubstring("delete"));
        CHECK(t.value("status", 1) == "open");
        // Who does not see it any more has erased it.
        t.sql("CREATE VIEW {t}_living AS SELECT * FROM {t} WHERE status <> 'gone'");
        postgres::StateRepository<Payment> const living{t.pool, {.table = t.name + "_living", .key = "id"}};
        CHECK(living.erase(std::int64_t{1}, 7).errc() == Errc::version_conflict);
        CHECK(living.erase(std::int64_t{1}, 1).value() == 1);
        CHECK(t.value("status", 1) == "gone");
        CHECK(living.erase(std::int64_t{1}, 1).errc() == Errc::not_found);
    }
}

TEST_CASE("rows that are stored twice for a moment are stored once", "[postgres][foreign_triggers]")
{
    // As tools do it that make partitions for object mappers: the row goes into the partition and into the
    // parent, and is taken from the parent again.
    Payments const t;
    t.sql("CREATE TABLE {t}_low (PRIMARY KEY (id)) INHERITS ({t})");
    t.trigger("BEFORE INSERT", "INSERT INTO {t}_low VALUES (NEW.*); RETURN NEW;");
    t.trigger("AFTER INSERT", "DELETE FROM ONLY {t} WHERE id = NEW.id; RETURN NULL;");
    auto const payments = t.repository();
    int id = 0;
    under_each_policy(payments, Missing::create, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        ++id;
        for (int i = 0; i < 3; ++i)
            service.do_in_transaction(
                OperationId{name + std::to_string(i)}, std::int64_t{id}, [](Payment& p) { p.amount += 5; });
        CHECK(t.value("amount", id) == "15");
    });
    CHECK(t.sql("SELECT count(*) FROM {t}") == "4");
    CHECK(payments.insert(Payment{1, 1}).errc() == Errc::already_exists);
}

TEST_CASE("what a trigger raises is the user's refusal on every path", "[postgres][foreign_triggers]")
{
    for (std::string const when : {"BEFORE", "AFTER", "deferred"})
        for (std::string const state :
             {"P0001", "22012", "23505", "40003", "57014", "57P01", "08006", "AB123"}) {
            CAPTURE(when, state);
            Payments const t;
            t.row(1);
            t.row(2);
            auto const body =
                "IF NEW.amount > 1000 THEN RAISE EXCEPTION 'not on a Sunday' USING ERRCODE = '" + state +
                "'; END IF; RETURN NEW;";
            if (when == "deferred") {
                t.sql(
                    "CREATE FUNCTION {t}_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body +
                    " END $$");
                t.sql(
                    "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON {t} DEFERRABLE INITIALLY DEFERRED FOR "
                    "EACH ROW "
                    "EXECUTE FUNCTION {t}_f()");
            } else {
                t.trigger(when + " UPDATE", body);
            }
            auto const payments = t.repository();
            auto const refused = [&](auto const& outcome) {
                CHECK(outcome.errc() == Errc::constraint_violated);
                CHECK(outcome.effect() == Effect::not_applied);
                CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring("not on a Sunday"));
                CHECK_THAT(outcome.detail(), Catch::Matchers::ContainsSubstring(state));
            };
            int runs = 0;
            auto const raise = [&](Payment& p) {
                ++runs;
                p.amount = 5000;
            };
            under_each_policy(payments, Missing::fail, [&](auto const& service, std::string const& name) {
                CAPTURE(name);
                refused(service.try_do_in_transaction(std::int64_t{1}, raise));
                refused(service.try_do_in_transaction(OperationId{name}, std::int64_t{1}, raise));
                refused(service.try_do_in_transaction(
                    keys(std::int64_t{1}, std::int64_t{2}), [&](Payment& a, Payment&) { raise(a); }));
            });
            CHECK(runs == 12);
            refused(payments.compare_and_set(std::int64_t{1}, 1, Payment{1, 5000}));
            CHECK(t.value("amount", 1) == "10");
        }
}

TEST_CASE(
    "a trigger that asks for another run is followed, and its words survive", "[postgres][foreign_triggers]")
{
    Payments const t;
    t.row(1);
    t.trigger("BEFORE UPDATE", "RAISE EXCEPTION 'the ledger is being closed' USING ERRCODE = '40001';");
    int runs = 0;
    auto const done =
        TransactionService{OptimisticVersioning{.max_attempts = 3}, t.repository()}.try_do_in_transaction(
            std::int64_t{1}, [&](Payment& p) {
                ++runs;
                ++p.amount;
            });
    CHECK(runs == 3);
    CHECK(done.errc() == Errc::serialization_failure);
    CHECK_THAT(done.detail(), Catch::Matchers::ContainsSubstring("the ledger is being closed"));
}

struct Watching : Observer {
    void on_connection(ConnectionEvent const& event) noexcept override
    {
        lost += event.kind == ConnectionEvent::Kind::lost ? 1 : 0;
    }
    std::atomic<int> lost{0};
};

TEST_CASE(
    "a trigger that fails by a missing name makes no call run again, and no connection anew",
    "[postgres][foreign_triggers]")
{
    Payments const t;
    t.row(1);
    auto const what = GENERATE(
        "PERFORM {t}_no_function(1);", "PERFORM no_column FROM {t};", "PERFORM NULL::{t}_no_type;",
        "NEW.amount = date_trunc(true, 'x');");
    CAPTURE(what);
    t.trigger("BEFORE UPDATE", std::string("IF NEW.amount > 1000 THEN ") + what + " END IF; RETURN NEW;");
    Watching watching;
    auto options = t.pool.options();
    options.observer = &watching;
    postgres::StateRepository<Payment> const payments{
        postgres::Pool{options}, {.table = t.name, .key = "id"}};
    int runs = 0;
    int calls = 0;
    under_each_policy(payments, Missing::fail, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        auto const pay = [&](int amount, std::optional<OperationId> id) {
            auto const change = [&](Payment& p) {
                ++runs;
                p.amount = amount;
            };
            return id ? service.try_do_in_transaction(*id, std::int64_t{1}, change)
                      : service.try_do_in_transaction(std::int64_t{1}, change);
        };
        REQUIRE(pay(++calls, {}));
        REQUIRE(pay(++calls, OperationId{name + " applied"}));
        for (int i = 0; i < 3; ++i) {
            ++calls;
            CHECK(pay(5000, {}).errc() == Errc::misconfigured);
            ++calls;
            CHECK(pay(5000, OperationId{name}).errc() == Errc::misconfigured);
        }
        CHECK(watching.lost == 0);
    });
    CHECK(runs == calls);
}

TEST_CASE(
    "a trigger whose own plans became too old is cured by another run on another connection",
    "[postgres][foreign_triggers]")
{
    Payments const t;
    t.row(1);
    t.sql("CREATE TABLE {t}_limits (most int NOT NULL)");
    t.sql("INSERT INTO {t}_limits VALUES (1000000)");
    t.trigger(
        "BEFORE UPDATE",
        "DECLARE r record; BEGIN SELECT * INTO r FROM {t}_limits; IF NEW.amount > r.most THEN RAISE "
        "EXCEPTION 'x'; END IF; END; RETURN NEW;");
    bool wide = false;
    under_each_policy(t.repository(), Missing::fail, [&](auto const& service, std::string const& name) {
        CAPTURE(name);
        auto const pay = [&](Payment& p) { ++p.amount; };
        for (int i = 0; i < 3; ++i)  // the session has a plan of its own, and one of the trigger's
            service.do_in_transaction(std::int64_t{1}, pay);
        wide = !wide;
        t.sql(std::string("ALTER TABLE {t}_limits ALTER most TYPE ") + (wide ? "bigint" : "int"));
        for (int i = 0; i < 4; ++i) {
            auto const paid = service.try_do_in_transaction(std::int64_t{1}, pay);
            CHECK(paid);
            CAPTURE(i, paid.detail());
            CHECK(service.try_do_in_transaction(OperationId{name + std::to_string(i)}, std::int64_t{1}, pay));
        }
    });
    auto const payments = t.repository();
    auto const version = payments.load(std::int64_t{1}).value().version;
    CHECK(payments.compare_and_set(std::int64_t{1}, version, Payment{1, 7}));
}

}  // namespace postgres_foreign_triggers_test
