// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_POSTGRES_SERVER_HPP
#define INTERLOCK_TESTS_SUPPORT_POSTGRES_SERVER_HPP

/// @file
/// A real PostgreSQL server of our own: a cluster in a directory of its own, on a unix socket and a private
/// port of this machine; ended with the object. PostgreSQL refuses to run as root, so a test that does gives
/// it to the user postgres, or nobody.

#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/schema.hpp>

#include "child_process.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock_test {

/// **Thread safety.** One thread at a time. The system ends the server with the thread that started it.
class PostgresServer {
public:
    /// `settings` as postgres takes them behind -c: {"max_connections=20"}. Throws when the server does not
    /// come up.
    explicit PostgresServer(std::vector<std::string> settings = {})
        : settings_(std::move(settings)), port_(free_port())
    {
        std::string pattern = (std::filesystem::temp_directory_path() / "interlock-postgres-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr)
            throw std::runtime_error("no temporary directory for postgres");
        directory_ = pattern;
        if (::geteuid() == 0) {
            passwd const* user = ::getpwnam("postgres");
            if (user == nullptr)
                user = ::getpwnam("nobody");
            if (user == nullptr || ::chown(directory_.c_str(), user->pw_uid, user->pw_gid) != 0)
                throw std::runtime_error("postgres does not run as root, and there is no other user");
            user_ = user->pw_uid;
            group_ = user->pw_gid;
        }
        launch(
            {binary("initdb"), "-D", directory_ + "/data", "-A", "trust", "-U", "interlock", "--no-sync",
             "-E", "UTF8", "--locale=C"},
            SIGKILL);
        if (process_.wait() != 0)
            throw std::runtime_error("initdb failed; is postgresql installed? see tests/run");
        start();
    }
    PostgresServer(PostgresServer const&) = delete;
    PostgresServer& operator=(PostgresServer const&) = delete;
    ~PostgresServer()
    {
        stop_immediately();
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

    /// A program of the newest PostgreSQL that is installed.
    static std::string binary(std::string const& name)
    {
        std::vector<std::string> found;
        std::error_code ignored;
        for (auto const& version : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored))
            if (std::filesystem::exists(version.path() / "bin" / name))
                found.push_back((version.path() / "bin" / name).string());
        return found.empty() ? name : *std::max_element(found.begin(), found.end());
    }

    std::uint16_t port() const noexcept { return port_; }
    std::string directory() const { return directory_; }
    /// By the unix socket.
    std::string url() const
    {
        return "postgresql://interlock@/postgres?host=" + directory_ + "&port=" + std::to_string(port_);
    }
    std::string tcp_url() const
    {
        return "postgresql://interlock@127.0.0.1:" + std::to_string(port_) + "/postgres";
    }

    /// Statements as an operator would give them; the first value of the last one.
    std::string command(std::string const& sql) const
    {
        using namespace interlock::postgres::detail;
        auto const until = interlock::detail::add(interlock::SystemRuntime::now(), std::chrono::seconds{20});
        Connection connection;
        connection.open(*parse_settings(url()), "test", until).value();
        Batch batch;
        batch.add(sql);
        auto exchange = connection.run(batch, until, Connection::Bounded::by_caller);
        if (exchange.progress != Progress::answered || exchange.error)
            throw std::runtime_error(
                "test: " + sql + ": " + (exchange.error ? exchange.error->message : "no answer"));
        return std::string(exchange.replies[0].text(0, 0));
    }

    /// The same server, with its files, after `stop_immediately`.
    void start()
    {
        std::vector<std::string> words{
            binary("postgres"),    "-D", directory_ + "/data",         "-k", directory_,  "-p",
            std::to_string(port_), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c",
            "max_connections=200", "-c", "shared_buffers=32MB"};
        for (auto const& setting : settings_) {
            words.push_back("-c");
            words.push_back(setting);
        }
        launch(std::move(words), SIGQUIT);
        process_.await([this] { return answers(); }, [this] { return ":\n" + log(); });
    }

    /// No farewell, no checkpoint: what comes next is crash recovery.
    void stop_immediately() noexcept { process_.end(SIGQUIT); }
    void restart_immediately()
    {
        stop_immediately();
        start();
    }

    std::string log() const
    {
        std::ifstream file(directory_ + "/log");
        return {std::istreambuf_iterator<char>(file), {}};
    }

private:
    void launch(std::vector<std::string> words, int at_death)
    {
        process_.start(std::move(words), at_death, [this, log_path = directory_ + "/log"] {
            if (user_ != 0 && (::setgid(group_) != 0 || ::setuid(user_) != 0))
                ::_exit(125);
            int const nothing = ::open("/dev/null", O_RDONLY);
            int const log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            ::dup2(nothing, 0);
            ::dup2(log, 1);
            ::dup2(log, 2);
            if (::chdir("/") != 0)
                ::_exit(124);
        });
    }

    bool answers() const
    {
        using namespace interlock::postgres::detail;
        Connection connection;
        return static_cast<bool>(connection.open(
            *parse_settings(url()), "test",
            interlock::detail::add(interlock::SystemRuntime::now(), std::chrono::seconds{1})));
    }

    std::vector<std::string> settings_;
    std::string directory_;
    std::uint16_t port_;
    uid_t user_{0};
    gid_t group_{0};
    ChildProcess process_;
};

/// One server for the whole test process.
inline PostgresServer& postgres_server()
{
    static PostgresServer server;
    return server;
}

/// A pool on `server` with tables of its own.
inline interlock::postgres::Pool fresh_pool(PostgresServer const& server = postgres_server())
{
    auto options =
        interlock::postgres::Options::parse(server.url() + "&name_space=" + fresh_name_space()).value();
    interlock::postgres::Pool pool{std::move(options)};
    interlock::postgres::create_schema(pool).value();
    return pool;
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_POSTGRES_SERVER_HPP
