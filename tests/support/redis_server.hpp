// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_REDIS_SERVER_HPP
#define INTERLOCK_TESTS_SUPPORT_REDIS_SERVER_HPP

/// @file
/// A real server of our own, in a directory of its own, on a unix socket; ended with the object. Redis, or
/// what INTERLOCK_REDIS_SERVER names: valkey-server, say.

#include <interlock/backends/redis/client.hpp>
#include <interlock/backends/redis/detail/connection.hpp>

#include "child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock_test {

/// What README says that the library needs; tests/readme compares. Every server here has this user, and the
/// tests are it.
inline constexpr std::string_view library_rights = R"(
ACL SETUSER worker on >password ~v1:* &v1:* +evalsha +eval +get +set +getrange +setrange +del +pexpire +pttl
    +hget +hset +hmget +hincrby +exists +time +spublish +ssubscribe +ping +mget +scan +info +select
    +client|setname +mset +xadd +xlen +xrange +xrevrange +xinfo +xtrim +xsetid +hgetall +hlen +hdel
    +zadd +zcard +zrangebyscore +zrem
)";

/// **Thread safety.** One thread at a time.
class RedisServer {
public:
    /// `arguments` as redis-server takes them: {"--maxmemory", "1mb"}; `@PORT@` is a free port of 127.0.0.1.
    /// Throws when the server does not come up.
    explicit RedisServer(std::vector<std::string> arguments = {}) : arguments_(std::move(arguments))
    {
        std::string pattern = (std::filesystem::temp_directory_path() / "interlock-redis-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr)
            throw std::runtime_error("no temporary directory for redis-server");
        directory_ = pattern;
        bool const listens = std::find(arguments_.begin(), arguments_.end(), "@PORT@") != arguments_.end();
        for (int attempt = 1;; ++attempt) {
            port_ = listens ? free_port() : 0;
            try {
                start();
                return;
            } catch (std::exception const&) {  // somebody was faster
                kill();
                if (!listens || attempt == 5)
                    throw;
            }
        }
    }
    RedisServer(RedisServer const&) = delete;
    RedisServer& operator=(RedisServer const&) = delete;
    ~RedisServer()
    {
        kill();
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

    std::string socket() const { return directory_ + "/redis.sock"; }
    std::string directory() const { return directory_; }
    /// What `@PORT@` became.
    std::uint16_t port() const { return port_; }
    /// As the user with `library_rights`.
    std::string url() const { return "unix://worker:password@" + socket(); }
    interlock::redis::Options options() const { return as_worker(operator_options()); }
    static interlock::redis::Options as_worker(interlock::redis::Options options)
    {
        options.user = "worker";
        options.password = "password";
        return options;
    }
    /// As the default user, who may do everything.
    interlock::redis::Options operator_options() const
    {
        interlock::redis::Options options;
        options.unix_path = socket();
        return options;
    }

    /// One command as an operator would give it; its reply as text, an array's elements in lines.
    std::string command(std::initializer_list<std::string_view> words) const
    {
        return command(operator_options(), words);
    }
    static std::string command(
        interlock::redis::Options const& options, std::initializer_list<std::string_view> words)
    {
        namespace detail = interlock::redis::detail;
        auto const until = interlock::detail::add(interlock::SystemRuntime::now(), std::chrono::seconds{20});
        detail::Connection connection{options};
        connection.connect(options, until).value();
        connection.exchange(detail::Command{words}.bytes(), interlock::redis::Access::read, until).value();
        auto const reply = connection.reply();
        std::string out = text(reply);
        for (std::size_t i = 0; i < reply.size(); ++i)
            out += text(reply[i]) + "\n";
        return out;
    }

    /// So many keys more, for a server that should take its time to load.
    void fill(int keys) const
    {
        auto const script =
            "for i = 1, " + std::to_string(keys) + " do redis.call('SET', 'filling:' .. i, i) end";
        command({"EVAL", script, "0"});
    }

    /// What becomes true before `start` returns.
    enum class Until : unsigned char { listening, loaded };

    /// The same server, with its files, after `kill`, and with these arguments more from now on.
    void start(std::vector<std::string> const& more, Until until = Until::loaded)
    {
        arguments_.insert(arguments_.end(), more.begin(), more.end());
        start(until);
    }
    void start(Until until = Until::loaded)
    {
        char const* const named = std::getenv("INTERLOCK_REDIS_SERVER");
        std::string const program = named != nullptr && *named != '\0' ? named : "redis-server";
        std::vector<std::string> words{program,
                                       "--port",
                                       "0",
                                       "--unixsocket",
                                       socket(),
                                       "--dir",
                                       directory_,
                                       "--save",
                                       "",
                                       "--daemonize",
                                       "no",
                                       "--logfile",
                                       directory_ + "/log",
                                       "--user"};
        std::istringstream rights{std::string(library_rights)};
        std::string right;
        rights >> right >> right;  // ACL SETUSER
        while (rights >> right)
            words.push_back(right);
        for (auto const& argument : arguments_)
            words.push_back(argument == "@PORT@" ? std::to_string(port_) : argument);
        if (port_ != 0)
            words.insert(words.end(), {"--bind", "127.0.0.1"});
        std::filesystem::remove(socket());
        process_.start(std::move(words), SIGKILL, [] {
            int const nothing = ::open("/dev/null", O_RDWR);
            ::dup2(nothing, 0);
            ::dup2(nothing, 1);
        });
        process_.await(
            [&] { return until == Until::loaded ? answers() : listens(); },
            [] { return "; is it installed? see tests/run"; });
    }

    pid_t pid() const noexcept { return process_.pid(); }
    /// As the system would end it: no farewell, nothing saved.
    void kill() noexcept { process_.end(SIGKILL); }
    void pause() const noexcept { process_.send(SIGSTOP); }
    void resume() const noexcept { process_.send(SIGCONT); }

private:
    static std::string text(interlock::redis::ReplyView reply)
    {
        if (reply.is(interlock::redis::ReplyType::integer))
            return std::to_string(reply.integer());
        return std::string(reply.text());
    }

    bool listens() const
    {
        interlock::detail::IoResult result;
        std::string why;
        auto const soon = interlock::detail::add(interlock::SystemRuntime::now(), std::chrono::seconds{1});
        return static_cast<bool>(interlock::detail::Stream::connect_unix(socket(), soon, result, why));
    }
    /// Listening; whether it lets us in is another question.
    bool answers() const
    {
        if (!std::filesystem::exists(socket()))
            return false;
        auto const bare = operator_options();
        auto const until = interlock::detail::add(interlock::SystemRuntime::now(), std::chrono::seconds{1});
        interlock::redis::detail::Connection connection{bare};
        namespace detail = interlock::redis::detail;
        if (!connection.connect(bare, until))
            return connection_refused_by_password(connection, until);
        return static_cast<bool>(connection.exchange(
                   detail::Command{"PING"}.bytes(), interlock::redis::Access::read, until)) &&
               !connection.reply().text().starts_with("LOADING");
    }
    static bool connection_refused_by_password(
        interlock::redis::detail::Connection& connection, interlock::TimePoint)
    {
        return connection.reply().text().starts_with("NOAUTH");
    }

    std::vector<std::string> arguments_;
    std::string directory_;
    std::uint16_t port_{0};
    ChildProcess process_;
};

/// One server for the whole test process.
inline RedisServer& redis_server()
{
    static RedisServer server;
    return server;
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_REDIS_SERVER_HPP
