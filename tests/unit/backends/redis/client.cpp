// SPDX-License-Identifier: BSL-1.0

// What a blocking client says when the server, or the way to it, fails.
//
// How it works: each case brings a real server into the state that it is about (paused, killed, restarted
// without data, out of memory, a replica, with other rights), makes calls, and checks code, cause, effect and
// time. No text may contain the password, so the users of the tests have one that is easy to find.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/idempotency_store.hpp>
#include <interlock/backends/redis/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/use_future.hpp>

#include "support/catch.hpp"
#include "support/redis.hpp"
#include "support/states.hpp"
#include "support/threads.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace redis_client_test {

using namespace interlock;
using namespace std::chrono_literals;
using interlock_test::eventually;
using interlock_test::redis_options;
using interlock_test::redis_server;
using interlock_test::RedisServer;
using interlock_test::run_threads;
using interlock_test::Stock;
using Repository = redis::StateRepository<Stock>;

OwnerToken const me{{1, 2}};
OwnerToken const you{{3, 4}};
Key const x{"x"};

TEST_CASE(
    "a server that does not exist is unavailable, in time and without the password in the text",
    "[redis][client]")
{
    for (auto const* url : {"unix://u:hunter2@/nowhere/redis.sock", "redis://u:hunter2@127.0.0.1:1"}) {
        Repository const repository{redis::Client{url}};
        auto const written = repository.insert(x, Stock{"x", 1}, Deadline{5s});
        CHECK(written.errc() == Errc::unavailable);
        CHECK(written.detail().find("hunter2") == std::string::npos);
        CHECK(repository.load(x, Deadline{5s}).errc() == Errc::unavailable);
    }
    Repository const tls{redis::Client{"rediss://127.0.0.1"}};
    CHECK(tls.load(x).errc() == Errc::misconfigured);
    CHECK(tls.load(x).detail().find("TLS") != std::string::npos);
}

TEST_CASE("nothing is sent after the deadline", "[redis][client]")
{
    redis::Client const client{redis_options()};
    Repository const repository{client};
    CHECK(repository.insert(x, Stock{"x", 1}, Deadline{0s}).errc() == Errc::deadline_exceeded);
    CHECK(repository.load(x).errc() == Errc::not_found);
}

TEST_CASE("a write whose reply does not come in time is unknown, and a read has failed", "[redis][client]")
{
    RedisServer server;
    auto const o = redis_options(server);
    Repository const repository{redis::Client{o}};
    Repository const writer{redis::Client{o}};
    Repository const locker{redis::Client{o}};
    auto const version = repository.insert(x, Stock{"x", 1}).value();
    static_cast<void>(writer.load(x).value());
    static_cast<void>(locker.load(x).value());
    server.pause();
    auto const began = std::chrono::steady_clock::now();
    CHECK(repository.load(x, Deadline{50ms}).errc() == Errc::deadline_exceeded);
    // The next one needs a new connection, and nothing of it is sent before the server has greeted.
    CHECK(repository.insert(Key{"y"}, Stock{"y", 1}, Deadline{50ms}).errc() == Errc::unavailable);
    Stock const value{"x", 2};
    OperationId const id{"op"};
    std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value}};
    OperationCommit operation{&x, &id, 1, "answer"};
    auto const unknown = writer.commit(changes, &operation, Deadline{50ms});
    CHECK(unknown.errc() == Errc::outcome_unknown);
    CHECK(unknown.cause() == Errc::deadline_exceeded);
    CHECK(locker.create(x, me, 10s, Deadline{50ms}).errc() == Errc::outcome_unknown);
    CHECK(std::chrono::steady_clock::now() - began < 2s);
    server.resume();
    // The operation id resolves it: applied by the late command, or never any more; and once in any case.
    auto const record = repository.forbid_operation(x, id, 1, Deadline{10s}).value();
    auto const after = repository.load(x).value();
    CHECK((after.value.quantity == 2) == record.answered);
    operation.attempt = 2;
    changes[0].version = version;
    auto const again = repository.commit(changes, &operation, Deadline{10s});
    REQUIRE(again);
    CHECK(again->duplicate == record.answered);
    CHECK(repository.load(x).value().value.quantity == 2);
    CHECK(repository.load(x).value().version == version + 1);
    // Asked again with its own token, the lock is recognised, wherever the first request ended.
    CHECK(repository.create(x, me, 10s, Deadline{10s}));
}

TEST_CASE("a reply that came too late is never taken for another one's", "[redis][client]")
{
    RedisServer server;
    auto o = redis_options(server);
    o.max_connections = 1;
    redis::Client const client{o};
    Repository const repository{client};
    static_cast<void>(repository.insert("a", Stock{"a", 1}).value());
    static_cast<void>(repository.insert("b", Stock{"b", 2}).value());
    for (int i = 0; i < 5; ++i) {
        server.pause();
        CHECK(repository.load(Key{"a"}, Deadline{20ms}).errc() == Errc::deadline_exceeded);
        server.resume();
        CHECK(repository.load("b").value().value == Stock{"b", 2});
    }
    CHECK(client.connection_count() == 1);
}

TEST_CASE(
    "a connection that is killed during a write makes the write unknown, and one that died in the pool does "
    "not",
    "[redis][client]")
{
    RedisServer server;
    Repository const repository{redis::Client{redis_options(server)}};
    auto const version = repository.insert(x, Stock{"x", 1}).value();
    server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    auto const second = repository.compare_and_set(x, version, Stock{"x", 2}, Deadline{10s});
    CHECK(second.errc() == Errc::ok);
    server.command({"CLIENT", "PAUSE", "10000", "ALL"});  // taken in, not executed
    std::optional<Outcome<Version>> third;
    run_threads(2, [&](std::size_t i) {
        if (i == 0) {
            third = repository.compare_and_set(x, *second, Stock{"x", 3}, Deadline{20s});
        } else {
            std::this_thread::sleep_for(200ms);
            server.kill();
        }
    });
    CHECK(third->errc() == Errc::outcome_unknown);
    CHECK(third->cause() == Errc::unavailable);
    CHECK(repository.load(x, Deadline{1s}).errc() == Errc::unavailable);
}

TEST_CASE(
    "after a restart without data old holders are fenced out, and a lost script is not taken for a lost lock",
    "[redis][client]")
{
    RedisServer server;
    Repository const repository{redis::Client{redis_options(server)}};
    auto const version = repository.insert(x, Stock{"x", 1}).value();
    auto const grant = repository.create(x, me, 10s).value();
    server.kill();
    CHECK(repository.renew(x, me, 10s, Deadline{1s}).errc() == Errc::unavailable);
    server.start();
    Fence const fence{me, grant.first};
    Stock const value{"x", 2};
    std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &fence}};
    CHECK(repository.commit(changes, nullptr, Deadline{10s}).errc() == Errc::fenced_out);
    auto const renewed = repository.renew(x, me, 10s, Deadline{10s});
    CHECK(renewed.errc() == Errc::lock_lost);
    CHECK(renewed.cause() == Errc::not_found);
    // Tokens and versions are greater than all that were given out before.
    CHECK(repository.create(x, you, 10s).value().first > grant.first);
    CHECK(repository.insert(x, value).value() > version);
}

TEST_CASE(
    "after a restart with its data a lock still belongs to its holder, and tokens go on", "[redis][client]")
{
    RedisServer server({"--appendonly", "yes", "--appendfsync", "always"});
    redis::Client const client{redis_options(server)};
    CHECK(client.server_check().value().append_only);
    Repository const repository{client};
    auto const version = repository.insert(x, Stock{"x", 1}).value();
    auto const grant = repository.create(x, me, 60s).value();
    server.kill();
    server.start();
    CHECK(repository.create(x, you, 10s, Deadline{10s}).errc() == Errc::lock_busy);
    CHECK(repository.load(x).value().version == version);
    CHECK(repository.create(x, me, 60s).value().first == grant.first);
    CHECK(repository.remove(x, me).value() == Removal::removed);
    CHECK(repository.create(x, you, 10s).value().first > grant.first);
}

TEST_CASE("a script that the server forgot is sent again", "[redis][client]")
{
    Repository const repository{redis::Client{redis_options()}};
    auto const grant = repository.create(x, me, 10s).value();
    redis_server().command({"SCRIPT", "FLUSH"});
    CHECK(repository.create(x, me, 10s).value().first == grant.first);
    redis_server().command({"SCRIPT", "FLUSH"});
    CHECK(repository.renew(x, me, 10s));
    redis_server().command({"SCRIPT", "FLUSH"});
    CHECK(repository.remove(x, me).value() == Removal::removed);
}

TEST_CASE("the pool and the callers that wait for it are bounded", "[redis][client]")
{
    RedisServer server;
    auto o = redis_options(server);
    o.max_connections = 2;
    o.max_waiting = 1;
    redis::Client const client{o};
    Repository const repository{client};
    static_cast<void>(repository.insert(x, Stock{"x", 1}).value());
    server.pause();
    std::array<std::optional<Errc>, 4> codes;
    run_threads(codes.size(), [&](std::size_t i) {
        std::this_thread::sleep_for(i * 150ms);
        codes[i] = repository.load(x, Deadline{i < 2 ? 2s : 1s}).errc();
    });
    server.resume();
    CHECK(codes[0] == Errc::deadline_exceeded);
    CHECK(codes[1] == Errc::unavailable);  // nobody greeted its new connection
    CHECK(codes[2] == Errc::overloaded);   // waited for a connection in vain
    CHECK(codes[3] == Errc::overloaded);   // was one waiter too many
    CHECK(client.connection_count() <= 2);
    run_threads(8, [&](std::size_t) {
        for (int i = 0; i < 20; ++i)
            static_cast<void>(repository.load(x, Deadline{60s}));
    });
    CHECK(client.connection_count() <= 2);
    CHECK(repository.load(x).value().value.quantity == 1);
}

TEST_CASE("every refusal of a server has a code of its own", "[redis][client]")
{
    SECTION("WRONGTYPE: somebody else's data is damage, not a lock that is busy for ever")
    {
        auto const o = redis_options();
        Repository const repository{redis::Client{o}};
        auto const& server = redis_server();
        auto const prefix = "v1:{" + o.name_space + ".0}:";
        server.command({"LPUSH", prefix + "value:1:x", "foreign"});
        server.command({"LPUSH", prefix + "lock:1:x", "foreign"});
        server.command({"LPUSH", prefix + "op:1:xid", "foreign"});
        CHECK(repository.load(x).errc() == Errc::corrupt_state);
        CHECK(repository.insert(x, Stock{"x", 1}, Deadline{}).errc() == Errc::corrupt_state);
        CHECK(repository.create(x, me, 10s).errc() == Errc::corrupt_state);
        CHECK(repository.renew(x, me, 10s).errc() == Errc::corrupt_state);
        CHECK(repository.remove(x, me).errc() == Errc::corrupt_state);
        CHECK(repository.find_operation(x, OperationId{"id"}).errc() == Errc::corrupt_state);
        Key const y{"y"};
        server.command({"SET", prefix + "value:1:y", "foreign"});
        server.command({"SET", prefix + "lock:1:y", "foreign"});
        CHECK(repository.load(y).errc() == Errc::corrupt_state);
        CHECK(repository.compare_and_set(y, 1, Stock{"y", 1}, Deadline{}).errc() == Errc::corrupt_state);
        auto const place = "redis name space \"" + o.name_space + "\": ";
        TransactionService const service{OptimisticVersioning{}, repository};
        for (auto const& detail :
             {repository.load(x).detail(), repository.create(x, me, 10s).detail(),
              repository.load(y).detail(), service.try_do_in_transaction("y", [](Stock&) {}).detail()})
            CHECK_THAT(detail, Catch::Matchers::StartsWith(place));
        auto const by_hand = repository.create(y, me, 10s);  // an operator's way to keep everybody out
        CHECK(by_hand.errc() == Errc::lock_busy);
        CHECK(by_hand.detail().find("not one of ours") != std::string::npos);
        CHECK(repository.remove(y, me).value() == Removal::taken);
        CHECK(repository.force_release("y").value() == Removal::removed);
        CHECK(repository.create(y, me, 10s));
        server.command({"SET", prefix + "value:1:y", "0000000000000001not a stock"});
        CHECK(repository.load(y).errc() == Errc::corrupt_state);
        CHECK(repository.load(y).detail().find("not a stock") == std::string::npos);
    }
    SECTION("OOM: full is overloaded for records, unavailable for the rest, and a lock can still be removed")
    {
        RedisServer server;
        Repository const repository{redis::Client{redis_options(server)}};
        static_cast<void>(repository.create(x, me, 60s).value());
        server.command({"CONFIG", "SET", "maxmemory", "1"});
        CHECK(repository.insert(x, Stock{"x", 1}, Deadline{}).errc() == Errc::unavailable);
        CHECK(repository.create(Key{"y"}, me, 10s).errc() == Errc::unavailable);
        Stock const value{"x", 1};
        OperationId const id{"op"};
        std::array changes{Change<Stock>{.key = &x, .value = &value}};
        OperationCommit const operation{&x, &id, 1, "answer"};
        CHECK(repository.commit(changes, &operation).errc() == Errc::overloaded);
        CHECK(repository.forbid_operation(x, id, 1).errc() == Errc::overloaded);
        CHECK(repository.load(x).errc() == Errc::not_found);
        CHECK(repository.remove(x, me).value() == Removal::removed);
    }
    SECTION("NOAUTH, WRONGPASS: misconfigured, and the password is not repeated")
    {
        RedisServer server({"--requirepass", "right"});
        auto o = server.operator_options();
        CHECK(Repository{redis::Client{o}}.load(x).errc() == Errc::misconfigured);
        o.password = "hunter2";
        auto const refused = Repository{redis::Client{o}}.insert(x, Stock{"x", 1}, Deadline{});
        CHECK(refused.errc() == Errc::misconfigured);
        CHECK(refused.detail().find("hunter2") == std::string::npos);
        o.password = "right";
        CHECK(Repository{redis::Client{o}}.insert(x, Stock{"x", 1}, Deadline{}));
        o.database = 99;
        CHECK(Repository{redis::Client{o}}.load(x).errc() == Errc::misconfigured);
    }
    SECTION("a password where none is wanted")
    {
        auto o = redis_server().operator_options();
        o.password = "hunter2";
        auto const refused = Repository{redis::Client{o}}.load(x);
        CHECK(refused.errc() == Errc::misconfigured);
        CHECK(refused.detail().find("hunter2") == std::string::npos);
    }
    SECTION(
        "NOPERM: misconfigured; a user with the documented rights, as in all of these tests, can do "
        "everything")
    {
        RedisServer server;
        server.command({"ACL", "SETUSER", "reader", "on", ">pw", "~v1:*", "&v1:*", "+get"});
        auto o = redis_options(server);
        o.user = "reader";
        o.password = "pw";
        Repository const reader{redis::Client{o}};
        CHECK(reader.load(x).errc() == Errc::not_found);
        CHECK(reader.insert(x, Stock{"x", 1}, Deadline{}).errc() == Errc::misconfigured);
        CHECK(reader.verify_fencing());  // unverified
        CHECK_FALSE(redis::Client{o}.server_check().value().verified);

        redis::Client const client{redis_options(server)};
        Repository const worker{client};
        CHECK(client.server_check().value().verified);
        auto const version = worker.insert(x, Stock{"x", 1}).value();
        auto const grant = worker.create_and_load(x, me, 10s).value();
        CHECK(worker.create(x, you, 10s).errc() == Errc::lock_busy);
        Fence const fence{me, FencingToken{grant.grant.first.value() + 1}};
        Stock const value{"x", 2};
        OperationId const id{"op"};
        OperationCommit const operation{&x, &id, 1, "answer"};
        std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &fence}};
        CHECK(worker.commit(changes, &operation).errc() == Errc::ok);
        CHECK(worker.renew(x, me, 10s));
        CHECK(worker.remove(x, me));
        CHECK(worker.erase("x", changes[0].version));
        CHECK(worker.forbid_operation(x, OperationId{"other"}, 1));
        int records = 0;
        CHECK(worker.for_each_operation([&](auto const&...) { ++records; }));
        CHECK(records == 1);
        redis::IdempotencyStore const keys{client};
        IdempotentRequest const request("k", Scope("s"), fingerprint("b"));
        CHECK(keys.claim(request, me, 10s, AfterLease::refuse));
        CHECK(keys.complete(request, me, "answer", false));
        CHECK(keys.give_back(request, me).errc() == Errc::fenced_out);
        CHECK_FALSE(server.command({"ACL", "LOG"}).empty());  // the reader's attempts are in it
        // What scripts try and could do without would be in it, too.
        CHECK(server.command({"ACL", "LOG"}).find("worker") == std::string::npos);
    }
    SECTION("READONLY: a replica is unavailable to writes and no place for fences, until it is promoted")
    {
        RedisServer primary({"--port", "@PORT@", "--repl-diskless-sync-delay", "0"});
        auto const o = redis_options(primary);
        Repository const first{redis::Client{o}};
        auto const version = first.insert(x, Stock{"x", 1}).value();
        RedisServer replica({"--replicaof", "127.0.0.1", std::to_string(primary.port())});
        auto there = o;
        there.unix_path = replica.socket();
        redis::Client const client{there};
        Repository const second{client};
        CHECK(eventually([&] {
            auto const loaded = second.load(x);
            return loaded && loaded->version == version;
        }));
        auto const refused = [&] {
            CHECK(second.insert(Key{"y"}, Stock{"y", 2}, Deadline{}).errc() == Errc::unavailable);
            auto const busy = second.create(x, me, 10s);
            CHECK(busy.errc() == Errc::unavailable);
            CHECK(busy.detail().find("replica") != std::string::npos);
            redis::IdempotencyStore const keys{client};
            CHECK(
                effect_of(
                    keys.claim(IdempotentRequest("k", Scope("s")), me, 10s, AfterLease::refuse).errc()) ==
                Effect::not_applied);
            for (auto const& verified :
                 {second.verify_fencing(), Repository{redis::Client{there}}.verify_fencing()}) {
                CHECK(verified.errc() == Errc::misconfigured);
                CHECK(verified.detail().find("replica") != std::string::npos);
            }
        };
        refused();
        CHECK(first.compare_and_set(x, version, Stock{"x", 2}, Deadline{}));
        CHECK(eventually([&] { return second.load(x).value().value.quantity == 2; }));
        primary.kill();
        refused();
        CHECK(second.load(x).value().value.quantity == 2);  // what it has it still shows
        replica.command({"CONFIG", "SET", "replica-serve-stale-data", "no"});
        auto const stale = second.load(x, Deadline{5s});
        CHECK(stale.errc() == Errc::unavailable);
        CHECK(stale.detail().find("lost its primary") != std::string::npos);
        CHECK(effect_of(second.create(x, me, 10s, Deadline{5s}).errc()) == Effect::not_applied);
        replica.command({"REPLICAOF", "NO", "ONE"});
        CHECK(second.verify_fencing());
        auto const now = second.load(x).value();
        CHECK(now.version > version);
        CHECK(second.compare_and_set(x, now.version, Stock{"x", 3}, Deadline{}));
        CHECK(second.create(x, me, 10s));
    }
    SECTION("READONLY: a primary that becomes a replica while it is in use")
    {
        RedisServer server;
        redis::Client const client{redis_options(server)};
        Repository const repository{client};
        auto const version = repository.insert(x, Stock{"x", 1}).value();
        CHECK(repository.verify_fencing());
        auto const grant = repository.create(x, me, 60s).value();
        server.command({"REPLICAOF", "127.0.0.1", "1"});
        Fence const fence{me, grant.first};
        Stock const value{"x", 2};
        std::array changes{Change<Stock>{.key = &x, .version = version, .value = &value, .fence = &fence}};
        CHECK(repository.commit(changes, nullptr).errc() == Errc::unavailable);
        CHECK(repository.renew(x, me, 60s).errc() == Errc::unavailable);  // not "lost"
        CHECK(repository.create(Key{"y"}, me, 10s).errc() == Errc::unavailable);
        server.command({"REPLICAOF", "NO", "ONE"});
        CHECK(repository.commit(changes, nullptr).errc() == Errc::ok);
    }
    SECTION("LOADING: asked again until the deadline")
    {
        for (auto const* appendonly : {"yes", "no"}) {
            CAPTURE(appendonly);
            RedisServer server({"--appendonly", appendonly});
            auto patient = redis_options(server);
            patient.connect_timeout = 15s;  // a server that is loading may take its time with a greeting, too
            redis::Client const client{patient};
            Repository const repository{client};
            static_cast<void>(repository.insert(x, Stock{"x", 1}).value());
            server.fill(3000);
            server.kill();
            server.start(
                {"--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"},
                RedisServer::Until::listening);
            auto const early = Repository{redis::Client{client.options()}}.load(x, Deadline{200ms});
            auto const late = repository.load(x, Deadline{20s});
            // By asynchronous calls as well.
            RedisServer second({"--appendonly", appendonly});
            patient = redis_options(second);
            patient.connect_timeout = 15s;
            Repository const other{redis::Client{patient}};
            static_cast<void>(other.insert(x, Stock{"x", 1}).value());
            second.fill(3000);
            second.kill();
            second.start(
                {"--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"},
                RedisServer::Until::listening);
            TransactionService const locking{SetNxLock{}, other};
            auto const async = locking
                                   .async_try_do_in_transaction(
                                       "x", [](Stock& stock) { return ++stock.quantity; }, {.deadline = 20s},
                                       boost::asio::use_future)
                                   .get();
            CHECK(async.errc() == (appendonly == std::string_view{"yes"} ? Errc::ok : Errc::not_found));
            if (appendonly == std::string_view{"yes"}) {
                CHECK((early.errc() == Errc::unavailable || early.errc() == Errc::deadline_exceeded));
                CAPTURE(late.detail());
                CHECK(late.errc() == Errc::ok);
                CHECK(late.value().value.quantity == 1);
            } else {  // nothing was kept, so there is nothing to load
                CHECK(early.errc() == Errc::not_found);
                CHECK(late.errc() == Errc::not_found);
            }
        }
    }
    SECTION("BUSY: somebody else's endless script")
    {
        RedisServer server({"--busy-reply-threshold", "50"});
        Repository const repository{redis::Client{redis_options(server)}};
        static_cast<void>(repository.insert(x, Stock{"x", 1}).value());
        std::array<Errc, 2> codes{};
        run_threads(2, [&](std::size_t i) {
            if (i == 0) {
                auto const o = server.options();
                try {
                    RedisServer::command(o, {"EVAL", "while true do end", "0"});
                } catch (Error const&) {
                }
            } else {
                std::this_thread::sleep_for(300ms);
                codes[0] = repository.create(x, me, 10s, Deadline{5s}).errc();
                codes[1] = repository.load(x, Deadline{5s}).errc();
                server.command({"SCRIPT", "KILL"});
            }
        });
        CHECK(codes[0] == Errc::unavailable);
        CHECK(codes[1] == Errc::unavailable);
        CHECK(repository.create(x, me, 10s));
    }
    SECTION("an eviction policy that may drop leases")
    {
        RedisServer server({"--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"});
        redis::Client const client{redis_options(server)};
        auto const checked = Repository{client}.verify_fencing();
        CHECK(checked.errc() == Errc::misconfigured);
        CHECK(checked.detail().find("volatile-lru") != std::string::npos);
        redis::IdempotencyStore const keys{client};
        CHECK(
            keys.claim(IdempotentRequest("k", Scope("s")), me, 10s, AfterLease::refuse).errc() ==
            Errc::misconfigured);
        server.command({"CONFIG", "SET", "maxmemory-policy", "noeviction"});
        CHECK(Repository{client}.verify_fencing());
    }
    SECTION("a cluster")
    {
        RedisServer server({"--cluster-enabled", "yes", "--port", "0"});
        Repository const repository{redis::Client{redis_options(server)}};
        CHECK(repository.load(x).errc() == Errc::misconfigured);
        CHECK(repository.load(x).detail().find("cluster") != std::string::npos);
        // Even where one node has all slots, and each script keeps to one of them.
        CHECK(server.command({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"}) == "OK");
        CHECK(eventually([&] { return repository.load(x).errc() == Errc::not_found; }));
        static_cast<void>(repository.create(x, me, 10s).value());
        interlock_test::CountingWaiter waiter;
        repository.subscribe(x, you, waiter);
        CHECK(repository.create(x, you, 10s).errc() == Errc::lock_busy);
        CHECK(repository.remove(x, me).value() == Removal::removed);
        CHECK(repository.remove(x, you).value() == Removal::removed);
        repository.unsubscribe(x, waiter);
        auto const calls = server.command({"INFO", "commandstats"});
        auto const published = calls.find("cmdstat_spublish:calls=2,");
        REQUIRE(published != std::string::npos);  // waited for, and handed on
        CHECK(
            calls.substr(published, calls.find('\n', published) - published)
                .find("rejected_calls=0,failed_calls=0") != std::string::npos);
        auto const verified = repository.verify_fencing();
        CHECK(verified.errc() == Errc::misconfigured);
        CHECK(verified.detail().find("cluster") != std::string::npos);
    }
    SECTION("too many clients")
    {
        RedisServer server({"--maxclients", "2"});
        auto const o = redis_options(server);
        Repository const first{redis::Client{o}};
        Repository const second{redis::Client{o}};
        CHECK(first.insert(x, Stock{"x", 1}, Deadline{}));
        CHECK(second.load(x));
        CHECK(Repository{redis::Client{o}}.load(x, Deadline{1s}).errc() == Errc::unavailable);
    }
}

TEST_CASE("a forked child is told to make a client of its own", "[redis][client]")
{
    Repository const repository{redis::Client{redis_options()}};
    static_cast<void>(repository.insert(x, Stock{"x", 1}).value());
    auto const child = ::fork();
    if (child == 0) {
        auto const code = repository.load(x).errc();
        ::_exit(code == Errc::misconfigured ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(repository.load(x));
}

}  // namespace redis_client_test
