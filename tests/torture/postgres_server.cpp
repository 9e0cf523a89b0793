// SPDX-License-Identifier: BSL-1.0

#include "support/postgres_server.hpp"

#include "torture/faults.hpp"
#include "torture/worker.hpp"

#include <signal.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace torture {

namespace {

class TorturedPostgres final : public TorturedServer {
public:
    TorturedPostgres()
    {
        interlock::postgres::create_schema(interlock::postgres::Pool{server_.url()}).value();
        server_.command(
            "CREATE TABLE account (id text PRIMARY KEY, version bigint NOT NULL, value bigint NOT NULL, "
            "trail text NOT NULL)");
        server_.command("CREATE SEQUENCE account_version");
    }

    std::string socket() const override
    {
        return server_.directory() + "/.s.PGSQL." + std::to_string(server_.port());
    }
    std::string url(std::uint16_t port) const override
    {
        return "postgresql://interlock@127.0.0.1:" + std::to_string(port) + "/postgres";
    }
    std::string url() const override { return server_.url(); }

    std::vector<Fault> faults(LossyProxy& proxy, Dice& dice) override
    {
        return {
            {"pg_terminate_backend", [&] { return to_some("pg_terminate_backend(pid)"); }},
            {"pg_cancel_backend", [&] { return to_some("pg_cancel_backend(pid)"); }},
            {"SIGSTOP of a backend",
             [&] {
                 auto const pid = static_cast<pid_t>(std::atol(
                     server_
                         .command("SELECT pid FROM " + clients + " ORDER BY state = 'idle', random() LIMIT 1")
                         .c_str()));
                 if (pid <= 0)
                     return 0L;
                 ::kill(pid, SIGSTOP);
                 std::shared_ptr<void> const at_the_end{nullptr, [pid](void*) { ::kill(pid, SIGCONT); }};
                 auto const busy = std::atol(server_
                                                 .command(
                                                     "SELECT count(*) FROM " + clients +
                                                     " AND state <> 'idle' AND pid = " + std::to_string(pid))
                                                 .c_str());
                 dice.pause(700);
                 return busy;
             }},
            {"no standby confirms",
             [&] {
                 wait_for_standby("nobody");
                 dice.pause(700);
                 auto const waiting = std::atol(
                     server_.command("SELECT count(*) FROM " + clients + " AND wait_event = 'SyncRep'")
                         .c_str());
                 wait_for_standby("");
                 return waiting;
             }},
            {"immediate restart",
             [&] {
                 auto const before = proxy.ended_by_server();
                 server_.stop_immediately();
                 if (dice.below(2) == 0)
                     dice.pause(500);
                 server_.start();
                 return proxy.ended_by_server() - before;
             }},
        };
    }
    void forget_clients() override
    {
        server_.command("SELECT count(pg_terminate_backend(pid)) FROM " + clients);
    }

private:
    inline static std::string const clients =
        "pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

    /// To about half of the clients' backends; how many of those were at work.
    long to_some(std::string const& what) const
    {
        return std::atol(server_
                             .command(
                                 "SELECT count(*) FROM (SELECT state, " + what + " AS done FROM " + clients +
                                 " AND random() < 0.5) AS asked WHERE done AND state <> 'idle'")
                             .c_str());
    }

    /// Commits wait for a synchronous standby of that name, which nobody has; empty: for none.
    void wait_for_standby(std::string const& name) const
    {
        server_.command("ALTER SYSTEM SET synchronous_standby_names = '" + name + "'");
        server_.command("SELECT pg_reload_conf()");
    }

    interlock_test::PostgresServer server_;
};

JoiningStore const joining{
    "postgres", [](TorturedStore& store) {
        store.default_variant = "library";
        store.variants =
            "library (default), table, advisory, serializable: whose table, and how its rows are locked";
        store.make_server = [](std::string const&) { return std::make_unique<TorturedPostgres>(); };
    }};

}  // namespace

}  // namespace torture
