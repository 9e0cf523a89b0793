// SPDX-License-Identifier: BSL-1.0

// Tenants in one table, kept apart by row-level security: what a policy shows works, what it hides is not
// there, what it forbids is refused in words, and nobody gets another tenant's stored answer.

#include <interlock/backends/postgres/free_rows.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/core/lock_state_service.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/describe.hpp>

#include "support/catch.hpp"
#include "support/postgres_server.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace postgres_tenants_test {

using namespace interlock;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using interlock_test::fresh_pool;
using interlock_test::postgres_server;
using postgres::Setting;
using postgres::SettingUse;
using postgres::Transaction;

struct Note {
    std::int64_t id{0};
    std::string body;
};
BOOST_DESCRIBE_STRUCT(Note, (), (id, body))

// A table `<name space>_notes` of the tenants ann and bob, and a role that policies apply to.
struct Notes {
    explicit Notes(std::string const& columns = "id bigint PRIMARY KEY")
    {
        sql("CREATE TABLE {t} (" + columns +
            ", tenant text NOT NULL DEFAULT current_setting('app.tenant'), body text NOT NULL, version "
            "bigint "
            "NOT NULL DEFAULT 1)");
        sql("INSERT INTO {t} (id, tenant, body) VALUES (1, 'ann', 'hers'), (2, 'bob', 'his')");
        sql("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY");
        sql("CREATE ROLE {r} LOGIN");
        sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO {r}");
        sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {r}");
    }
    std::string sql(std::string text) const
    {
        for (auto const& [word, name] : {std::pair{"{t}", table}, std::pair{"{r}", role}})
            for (std::size_t at = 0; (at = text.find(word)) != std::string::npos;)
                text.replace(at, 3, name);
        return postgres_server().command(text);
    }
    postgres::Pool pool_of(std::string const& name, std::string const& more = "") const
    {
        auto url = postgres_server().tcp_url() + "?name_space=" + ns + more;
        return postgres::Pool{url.replace(url.find("interlock@"), 9, name)};
    }
    postgres::RepositoryOptions options() const { return {.table = table, .key = "id"}; }
    postgres::StateRepository<Note> tenant(std::string const& name) const
    {
        return everybody.with_settings({{"app.tenant", name}});
    }
    std::string body(int id) const
    {
        return sql("SELECT string_agg(body, ',' ORDER BY tenant) FROM {t} WHERE id = " + std::to_string(id));
    }

    postgres::Pool owner{fresh_pool()};
    std::string ns{owner.options().name_space};
    std::string table{ns + "_notes"};
    std::string role{ns + "_app"};
    postgres::Pool pool{pool_of(role)};
    postgres::StateRepository<Note> everybody{pool, options()};
};

char const* const by_tenant =
    "CREATE POLICY tenant ON {t} USING (tenant = current_setting('app.tenant', true))";

TEST_CASE("what a policy shows works under every policy of ours", "[postgres][tenants]")
{
    Notes const notes;
    notes.sql(by_tenant);
    auto const ann = notes.tenant("ann");
    CHECK(ann.load(std::int64_t{1}).value().value.body == "hers");
    auto const more = [](Note& n) { n.body += "!"; };
    CHECK(TransactionService{PessimisticRowLock{}, ann}.try_do_in_transaction(std::int64_t{1}, more));
    CHECK(TransactionService{OptimisticVersioning{}, ann}.try_do_in_transaction(std::int64_t{1}, more));
    CHECK(TransactionService{SetNxLock{}, ann}.try_do_in_transaction(std::int64_t{1}, more));
    CHECK(notes.body(1) == "hers!!!");
    CHECK(ann.insert(Note{3, "new"}));
    CHECK(notes.sql("SELECT tenant FROM {t} WHERE id = 3") == "ann");
    postgres::FreeRows const free{ann, {.where = "body LIKE $1", .order_by = "id DESC"}};
    CHECK(TransactionService{PessimisticRowLock{}, free}.do_in_transaction("h%", [](Note& n) {
        return n.id;
    }) == 1);
    CHECK(ann.erase(std::int64_t{3}, ann.load(std::int64_t{3}).value().version));
    auto const two = TransactionService{OptimisticVersioning{.missing = Missing::create}, ann};
    CHECK(two.try_do_in_transaction(keys(std::int64_t{1}, std::int64_t{4}), [](Note& a, Note& b) {
        a.body = "first";
        b.body = "second";
    }));
    CHECK(notes.body(1) == "first");
    CHECK(notes.body(4) == "second");
    CHECK(notes.pool.connection_count() <= 2);
}

TEST_CASE("a policy by role, by the URL, or restrictive, with FORCE", "[postgres][tenants]")
{
    Notes const notes;
    auto const check = [&](postgres::StateRepository<Note> const& repository) {
        CHECK(repository.load(std::int64_t{1}));
        CHECK(TransactionService{PessimisticRowLock{}, repository}.try_do_in_transaction(
            std::int64_t{1}, [](Note& n) { n.body += "."; }));
        CHECK(repository.load(std::int64_t{2}).errc() == Errc::not_found);
        CHECK(
            TransactionService{PessimisticRowLock{}, repository}
                .try_do_in_transaction(std::int64_t{2}, [](Note& n) { n.body += "."; })
                .errc() == Errc::not_found);
    };
    SECTION("role")
    {
        notes.sql("CREATE POLICY owners ON {t} TO {r} USING (id = 1)");
        check(notes.everybody);
    }
    SECTION("URL")
    {
        notes.sql(by_tenant);
        check(postgres::StateRepository<Note>{
            notes.pool_of(notes.role, "&options=-capp.tenant%3Dann"), notes.options()});
    }
    SECTION("restrictive")
    {
        notes.sql("CREATE POLICY all_rows ON {t} USING (true)");
        notes.sql("CREATE POLICY not_his ON {t} AS RESTRICTIVE USING (id <> 2)");
        check(notes.everybody);
    }
    SECTION("separate policies for each command")
    {
        notes.sql("CREATE POLICY s ON {t} FOR SELECT USING (tenant = current_setting('app.tenant'))");
        notes.sql("CREATE POLICY u ON {t} FOR UPDATE USING (tenant = current_setting('app.tenant'))");
        check(notes.tenant("ann"));
    }
    SECTION("FORCE, by the owner of the table")
    {
        notes.sql("ALTER TABLE {t} OWNER TO {r}");
        notes.sql("ALTER TABLE {t} FORCE ROW LEVEL SECURITY");
        notes.sql(by_tenant);
        check(notes.tenant("ann"));
    }
}

TEST_CASE("a policy that comes later is noticed at once", "[postgres][tenants]")
{
    Notes const notes;
    notes.sql("ALTER TABLE {t} DISABLE ROW LEVEL SECURITY");
    auto const ann = notes.tenant("ann");
    TransactionService const rows{PessimisticRowLock{}, ann};
    CHECK(ann.load(std::int64_t{2}));
    notes.sql(by_tenant);
    notes.sql("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY");
    CHECK(
        rows.try_do_in_transaction(std::int64_t{2}, [](Note& n) { n.body = "stolen"; }).errc() ==
        Errc::not_found);
    CHECK(rows.try_do_in_transaction(std::int64_t{1}, [](Note& n) { n.body = "mine"; }));
    CHECK(ann.load(std::int64_t{2}).errc() == Errc::not_found);
    CHECK(notes.body(2) == "his");
}

TEST_CASE("one tenant's stored answer is never given to another", "[postgres][tenants]")
{
    // Each tenant has a row 1 of its own.
    Notes const notes{"id bigint NOT NULL"};
    notes.sql("ALTER TABLE {t} ADD PRIMARY KEY (tenant, id)");
    notes.sql("INSERT INTO {t} (id, tenant, body) VALUES (1, 'bob', 'his first')");
    notes.sql(by_tenant);
    auto const ann = notes.tenant("ann");
    auto const bob = notes.tenant("bob");
    OperationId const id{"pay 1"};
    auto const pay = [](Note& n) { return n.body += " paid"; };
    auto const check = [&](auto const& policy) {
        auto const first = TransactionService{policy, ann}.try_do_in_transaction(id, std::int64_t{1}, pay);
        auto const second = TransactionService{policy, bob}.try_do_in_transaction(id, std::int64_t{1}, pay);
        REQUIRE(first);
        REQUIRE(second);
        CHECK(*first == "hers paid");
        CHECK(*second == "his first paid");
        CHECK_FALSE(second.replayed());
        // Again: each its own answer, also by another user of the same tenant.
        auto const traced = bob.with_settings({{"app.user", "u2", SettingUse::audit}});
        auto const again = TransactionService{policy, traced}.try_do_in_transaction(id, std::int64_t{1}, pay);
        REQUIRE(again);
        CHECK(*again == "his first paid");
        CHECK(again.replayed());
        CHECK(notes.body(1) == "hers paid,his first paid");
        int answers = 0;
        bob.for_each_operation([&](Key const& key, OperationId const&, OperationRecord const& record) {
               ++answers;
               CHECK(key == make_key<Note, std::int64_t>(std::int64_t{1}));
               CHECK(record.answered);
           })
            .value();
        CHECK(answers == 1);
    };
    SECTION("row lock")
    {
        check(PessimisticRowLock{});
    }
    SECTION("optimistic")
    {
        check(OptimisticVersioning{.remember = 100});
    }
    SECTION("lease")
    {
        check(SetNxLock{});
    }
}

TEST_CASE("an operation within an operation of another tenant is no deadlock", "[postgres][tenants]")
{
    Notes const notes{"id bigint NOT NULL"};
    notes.sql("ALTER TABLE {t} ADD PRIMARY KEY (tenant, id)");
    notes.sql("INSERT INTO {t} (id, tenant, body) VALUES (1, 'bob', 'his first')");
    notes.sql(by_tenant);
    TransactionService const ann{PessimisticRowLock{}, notes.tenant("ann")};
    TransactionService const bob{PessimisticRowLock{}, notes.tenant("bob")};
    ann.do_in_transaction(std::int64_t{1}, [](Note& n) { n.body = "a"; });  // by now the policies are known
    ann.do_in_transaction(std::int64_t{1}, [&](Note& n) {
        n.body += "b";
        bob.do_in_transaction(std::int64_t{1}, [](Note& other) { other.body = "c"; });
    });
    CHECK(notes.body(1) == "ab,c");
    CHECK(notes.tenant("ann").identity() == notes.tenant("ann").identity());
    CHECK(notes.tenant("ann").identity() != notes.tenant("bob").identity());
}

TEST_CASE("what a policy forbids is refused in words, and at once", "[postgres][tenants]")
{
    Notes const notes;
    auto const ann = notes.tenant("ann");
    int runs = 0;
    auto const refused = [&](auto const& outcome, char const* word) {
        CHECK(outcome.errc() == Errc::constraint_violated);
        CHECK_THAT(outcome.detail(), ContainsSubstring(word));
        CHECK(runs <= 3);
        runs = 0;
    };
    auto const change = [&](Note& n) {
        ++runs;
        n.body += "!";
    };
    auto const under_all = [&](std::int64_t key, char const* word) {
        refused(TransactionService{PessimisticRowLock{}, ann}.try_do_in_transaction(key, change), word);
        refused(
            TransactionService{PessimisticRowLock{}, ann}.try_do_in_transaction(
                OperationId{"r"}, key, change),
            word);
        refused(TransactionService{OptimisticVersioning{}, ann}.try_do_in_transaction(key, change), word);
        refused(
            TransactionService{OptimisticVersioning{}, ann}.try_do_in_transaction(
                OperationId{"o"}, key, change),
            word);
        refused(TransactionService{SetNxLock{}, ann}.try_do_in_transaction(key, change), word);
        refused(
            TransactionService{OptimisticVersioning{}, ann}.try_do_in_transaction(
                keys(key, std::int64_t{1}), [&](Note& n, Note& other) { change(n), change(other); }),
            word);
        CHECK(notes.body(1) == "hers");
        CHECK(notes.body(2) == "his");
    };
    SECTION("a row that is shown and may not be updated")
    {
        notes.sql("CREATE POLICY s ON {t} FOR SELECT USING (true)");
        notes.sql("CREATE POLICY u ON {t} FOR UPDATE USING (id = 1)");
        CHECK(ann.load(std::int64_t{2}));
        under_all(2, "row-level polic");
        refused(ann.compare_and_set(std::int64_t{2}, 1, Note{2, "x"}), "row-level polic");
        refused(ann.erase(std::int64_t{2}, 1), "row-level polic");
        refused(
            TransactionService{OptimisticVersioning{}, ann}.try_do_in_transaction(
                keys(std::int64_t{1}, std::int64_t{2}), [&](Note& n, Note const&) { change(n); }),
            "row-level polic");
    }
    SECTION("a new row that WITH CHECK refuses")
    {
        notes.sql("CREATE POLICY a ON {t} USING (true) WITH CHECK (body NOT LIKE '%!')");
        under_all(2, "row-level policy");
        refused(ann.insert(Note{7, "x!"}), "row-level policy");
    }
    SECTION("a key that a hidden row has")
    {
        notes.sql(by_tenant);
        auto const create = [&](auto policy) {
            policy.missing = Missing::create;
            refused(TransactionService{policy, ann}.try_do_in_transaction(std::int64_t{2}, change), "hide");
            refused(
                TransactionService{policy, ann}.try_do_in_transaction(
                    OperationId{"c"}, std::int64_t{2}, change),
                "hide");
        };
        create(PessimisticRowLock{});
        create(OptimisticVersioning{});
        create(SetNxLock{});
        refused(ann.insert(Note{2, "x"}), "hide");
        CHECK(notes.body(2) == "his");
        CHECK(ann.insert(Note{1, "x"}).errc() == Errc::already_exists);
    }
}

TEST_CASE("a row that no policy shows is inserted where nothing of it is read", "[postgres][tenants]")
{
    // Its version is the transaction, and ON CONFLICT, which reads the key, takes no such constraint.
    Notes const notes{"id bigint PRIMARY KEY DEFERRABLE"};
    notes.sql("ALTER TABLE {t} ALTER body TYPE char(9)");
    notes.sql("CREATE POLICY hand_in ON {t} FOR INSERT WITH CHECK (id < 100)");
    auto options = notes.options();
    options.version = "xmin";
    auto const box =
        postgres::StateRepository<Note>{notes.pool, options}.with_settings({{"app.tenant", "ann"}});
    for (int i = 0; i < 7; ++i) {  // until the server has made plans for all values
        auto const inserted = box.insert(Note{10 + i, "in"});
        INFO(inserted.detail());
        CHECK(inserted);
    }
    // The former type would cut what the new one keeps.
    notes.sql("ALTER TABLE {t} ALTER body TYPE text");
    CHECK(box.insert(Note{30, "in  "}));
    CHECK(notes.sql("SELECT body || '/' FROM {t} WHERE id = 30") == "in  /");
    CHECK(box.load(std::int64_t{10}).errc() == Errc::not_found);
    CHECK(box.insert(Note{100, "no"}).errc() == Errc::constraint_violated);
    CHECK(box.insert(Note{10, "again"}).errc() == Errc::constraint_violated);
    CHECK(notes.sql("SELECT count(*) FROM {t}") == "10");
}

TEST_CASE("the lock record of a row is one for all", "[postgres][tenants]")
{
    Notes const notes;
    notes.sql(by_tenant);
    LockStateService const ann{notes.tenant("ann")};
    LockStateService const bob{notes.tenant("bob")};
    auto const held = ann.try_acquire(std::int64_t{1});
    CHECK(held);
    CHECK_FALSE(bob.try_acquire(std::int64_t{1}));
}

TEST_CASE("the operation's own statements obey the policies of their tables", "[postgres][tenants]")
{
    Notes const notes;
    notes.sql("ALTER TABLE {t} DISABLE ROW LEVEL SECURITY");
    notes.sql("CREATE TABLE {t}_log (tenant text DEFAULT current_setting('app.tenant'), what text)");
    notes.sql("INSERT INTO {t}_log VALUES ('bob', 'old')");
    notes.sql("ALTER TABLE {t}_log ENABLE ROW LEVEL SECURITY");
    notes.sql("CREATE POLICY tenant ON {t}_log USING (tenant = current_setting('app.tenant'))");
    notes.sql("GRANT ALL ON {t}_log TO {r}");
    TransactionService const service{PessimisticRowLock{}, notes.tenant("ann")};
    auto const seen = service.do_in_transaction(std::int64_t{1}, [&](Note& n, Transaction& tx) {
        n.body = "x";
        tx.exec("INSERT INTO " + notes.table + "_log (what) VALUES ($1)", "paid");
        return tx.exec("SELECT count(*) FROM " + notes.table + "_log").value<int>();
    });
    CHECK(seen == 1);
    CHECK(notes.sql("SELECT count(*) FROM {t}_log WHERE tenant = 'ann'") == "1");
}

TEST_CASE("a trigger that writes into a table with a policy", "[postgres][tenants]")
{
    Notes const notes;
    notes.sql("ALTER TABLE {t} DISABLE ROW LEVEL SECURITY");
    notes.sql("CREATE TABLE {t}_audit (actor text, body text)");
    notes.sql("ALTER TABLE {t}_audit ENABLE ROW LEVEL SECURITY");
    notes.sql("CREATE POLICY w ON {t}_audit FOR INSERT WITH CHECK (actor <> '')");
    notes.sql("GRANT ALL ON {t}_audit TO {r}");
    notes.sql(
        "CREATE FUNCTION {t}_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO {t}_audit VALUES "
        "(current_setting('app.user', true), NEW.body); RETURN NEW; END $$");
    notes.sql("CREATE TRIGGER a AFTER UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION {t}_f()");
    auto const write = [](Note& n) { n.body += "x"; };
    auto const check = [&](auto const& policy) {
        auto const by = [&](char const* user) {
            return TransactionService{
                policy, notes.everybody.with_settings({{"app.user", user, SettingUse::audit}})};
        };
        CHECK(by("carol").try_do_in_transaction(std::int64_t{1}, write));
        auto const nobody = by("").try_do_in_transaction(std::int64_t{1}, write);
        CHECK(nobody.errc() == Errc::constraint_violated);
        CHECK_THAT(nobody.detail(), ContainsSubstring("row-level policy"));
        CHECK(notes.sql("SELECT string_agg(actor, ',') FROM {t}_audit") == "carol");
    };
    SECTION("row lock")
    {
        check(PessimisticRowLock{});
    }
    SECTION("optimistic")
    {
        check(OptimisticVersioning{});
    }
    SECTION("lease")
    {
        check(SetNxLock{});
    }
}

TEST_CASE("the library's own tables with a policy are refused in words", "[postgres][tenants]")
{
    Notes const notes;
    notes.sql(by_tenant);
    notes.sql("ALTER TABLE " + notes.ns + "_lock ENABLE ROW LEVEL SECURITY");
    auto const refused = notes.tenant("ann").load(std::int64_t{1});
    CHECK(refused.errc() == Errc::misconfigured);
    CHECK_THAT(refused.detail(), ContainsSubstring(notes.ns + "_lock"));
}

}  // namespace postgres_tenants_test
