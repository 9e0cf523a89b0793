// SPDX-License-Identifier: BSL-1.0

#include "support/redis_server.hpp"

#include "torture/faults.hpp"
#include "torture/worker.hpp"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace torture {

namespace {

class TorturedRedis final : public TorturedServer {
public:
    std::string socket() const override { return server_.socket(); }
    std::string url(std::uint16_t port) const override
    {
        return "redis://worker:password@127.0.0.1:" + std::to_string(port);
    }
    std::string url() const override { return server_.url(); }

    std::vector<Fault> faults(LossyProxy& proxy, Dice& dice) override
    {
        return {
            {"CLIENT KILL",
             [&] {
                 auto const type = dice.below(4) == 0 ? "pubsub" : "normal";
                 return std::atol(server_.command({"CLIENT", "KILL", "TYPE", type}).c_str());
             }},
            {"SCRIPT FLUSH",
             [&] {
                 auto const before = unknown_scripts();
                 server_.command({"SCRIPT", "FLUSH"});
                 dice.pause(100);
                 return unknown_scripts() - before;
             }},
            {"DEBUG SLEEP",
             [&] {
                 auto const before = proxy.requests();
                 server_.command({"DEBUG", "SLEEP", "0." + std::to_string(1 + dice.below(6))});
                 return proxy.requests() - before;
             }},
            {"SIGSTOP of the server",
             [&] {
                 auto const before = proxy.requests();
                 server_.pause();
                 dice.pause(900);
                 server_.resume();
                 return proxy.requests() - before;
             }},
            {"SIGKILL of the server, restart with its AOF",
             [&] {
                 auto const before = proxy.ended_by_server();
                 server_.kill();
                 if (dice.below(2) == 0)
                     dice.pause(500);
                 server_.start();
                 return proxy.ended_by_server() - before;
             }},
        };
    }
    void forget_clients() override { server_.command({"CLIENT", "KILL", "TYPE", "normal"}); }

private:
    /// How often this server was asked for a script that it had forgotten.
    long unknown_scripts() const
    {
        auto const info = server_.command({"INFO", "errorstats"});
        auto const at = info.find("errorstat_NOSCRIPT:count=");
        return at == std::string::npos ? 0 : std::atol(info.c_str() + at + 25);
    }

    interlock_test::RedisServer server_{
        {"--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes"}};
};

/// A primary and its replica, which take turns. A failover loses what the primary has accepted since its
/// replica let go.
class RedisFailover final : public TorturedServer {
public:
    RedisFailover() { follow(); }

    std::string socket() const override { return primary_->socket(); }
    std::string url(std::uint16_t port) const override
    {
        return "redis://worker:password@127.0.0.1:" + std::to_string(port);
    }
    std::string url() const override { return primary_->url(); }

    std::vector<Fault> faults(LossyProxy& proxy, Dice& dice) override
    {
        return {
            {"promotion of the replica, with a loss",
             [&] {
                 replica_->command({"REPLICAOF", "NO", "ONE"});
                 auto const before = proxy.requests();
                 dice.pause(300);
                 auto const lost = proxy.requests() - before;
                 primary_->kill();
                 std::swap(primary_, replica_);
                 proxy.lead_to(primary_->socket());
                 dice.pause(1000);  // some wait on the new primary before the old one follows
                 replica_->start();
                 follow();
                 return lost;
             }},
        };
    }
    void forget_clients() override { primary_->command({"CLIENT", "KILL", "TYPE", "normal"}); }

private:
    void follow()
    {
        replica_->command({"REPLICAOF", "127.0.0.1", std::to_string(primary_->port())});
        for (int i = 0; i < 1000; ++i) {
            if (replica_->command({"INFO", "replication"}).find("master_link_status:up") != std::string::npos)
                return;
            std::this_thread::sleep_for(std::chrono::milliseconds{20});
        }
        throw std::runtime_error("the replica does not follow");
    }

    interlock_test::RedisServer one_{
        {"--port", "@PORT@", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"}};
    interlock_test::RedisServer other_{
        {"--port", "@PORT@", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"}};
    interlock_test::RedisServer* primary_{&one_};
    interlock_test::RedisServer* replica_{&other_};
};

JoiningStore const joining{
    "redis", [](TorturedStore& store) {
        store.variants =
            "single (default), failover: to a replica that has not seen the last writes; then only what is "
            "still\n"
            "              promised is checked: tokens, deadlines, ids that can be used";
        store.make_server = [](std::string const& variant) -> std::unique_ptr<TorturedServer> {
            if (variant == "failover")
                return std::make_unique<RedisFailover>();
            return std::make_unique<TorturedRedis>();
        };
    }};

}  // namespace

}  // namespace torture
