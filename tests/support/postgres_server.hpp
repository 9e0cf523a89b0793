// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_POSTGRES_SERVER_HPP
#define INTERLOCK_TESTS_SUPPORT_POSTGRES_SERVER_HPP

/// @file
/// A real PostgreSQL server of our own: a cluster in a directory of its own, on a unix socket and a private port of this
/// machine; ended with the object. PostgreSQL refuses to run as root, so a test that does gives it to the user postgres, or
/// nobody.

#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/schema.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace interlock_test {

/// **Thread safety.** One thread at a time. The system ends the server with the thread that started it.
class PostgresServer {
public:
    /// `settings` as postgres takes them behind -c: {"max_connections=20"}. Throws when the server does not come up.
    explicit PostgresServer(std::vector<std::string> settings = {}) : settings_(std::move(settings)), port_(free_port())
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
        auto const made = launch(
            {binary("initdb"), "-D", directory_ + "/data", "-A", "trust", "-U", "interlock", "--no-sync", "-E", "UTF8",
             "--locale=C"},
            SIGKILL);
        int status = 0;
        ::waitpid(made, &status, 0);
        if (status != 0)
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
    std::string tcp_url() const { return "postgresql://interlock@127.0.0.1:" + std::to_string(port_) + "/postgres"; }

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
            throw std::runtime_error("test: " + sql + ": " + (exchange.error ? exchange.error->message : "no answer"));
        return std::string(exchange.replies[0].text(0, 0));
    }

    /// The same server, with its files, after `stop_immediately`.
    void start()
    {
        std::vector<std::string> words{
            binary("postgres"), "-D", directory_ + "/data", "-k", directory_, "-p", std::to_string(port_),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB"};
        for (auto const& setting : settings_) {
            words.push_back("-c");
            words.push_back(setting);
        }
        pid_ = launch(words, SIGQUIT);
        auto const end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
        while (!answers()) {
            if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
                pid_ = -1;
                throw std::runtime_error("postgres ended at once:\n" + log());
            }
            if (std::chrono::steady_clock::now() >= end)
                throw std::runtime_error("postgres does not answer:\n" + log());
            std::this_thread::sleep_for(std::chrono::milliseconds{2});
        }
    }

    /// No farewell, no checkpoint: what comes next is crash recovery.
    void stop_immediately() noexcept
    {
        if (pid_ <= 0)
            return;
        ::kill(pid_, SIGQUIT);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
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
    static std::uint16_t free_port()
    {
        int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        bool const good = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                          ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
        ::close(fd);
        if (!good)
            throw std::runtime_error("no free port for postgres");
        return ntohs(address.sin_port);
    }

    pid_t launch(std::vector<std::string> words, int signal_at_death) const
    {
        std::vector<char*> argv;
        for (auto& word : words)
            argv.push_back(word.data());
        argv.push_back(nullptr);
        auto const log_path = directory_ + "/log";
        auto const parent = ::getpid();
        auto const pid = ::fork();
        if (pid < 0)
            throw std::runtime_error("cannot fork for postgres");
        if (pid > 0)
            return pid;
        if (user_ != 0 && (::setgid(group_) != 0 || ::setuid(user_) != 0))
            ::_exit(125);
        ::prctl(PR_SET_PDEATHSIG, signal_at_death);  // a test that crashes leaves no server behind
        if (::getppid() != parent)
            ::_exit(126);
        int const nothing = ::open("/dev/null", O_RDONLY);
        int const log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
        ::dup2(nothing, 0);
        ::dup2(log, 1);
        ::dup2(log, 2);
        if (::chdir("/") != 0)
            ::_exit(124);
        ::execvp(argv[0], argv.data());
        ::_exit(127);
    }

    bool answers() const
    {
        using namespace interlock::postgres::detail;
        Connection connection;
        return static_cast<bool>(connection.open(
            *parse_settings(url()), "test", interlock::detail::add(interlock::SystemRuntime::now(), std::chrono::seconds{1})));
    }

    std::vector<std::string> settings_;
    std::string directory_;
    std::uint16_t port_;
    uid_t user_{0};
    gid_t group_{0};
    pid_t pid_{-1};
};

/// One server for the whole test process.
inline PostgresServer& postgres_server()
{
    static PostgresServer server;
    return server;
}

/// A name space that nobody used before in this process, without its tables.
inline std::string fresh_name_space()
{
    static std::atomic<int> count{0};
    return "test" + std::to_string(count.fetch_add(1));
}

/// A pool on `server` with tables of its own.
inline interlock::postgres::Pool fresh_pool(PostgresServer const& server = postgres_server())
{
    auto options = interlock::postgres::Options::parse(server.url() + "&name_space=" + fresh_name_space()).value();
    interlock::postgres::Pool pool{std::move(options)};
    interlock::postgres::create_schema(pool).value();
    return pool;
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_POSTGRES_SERVER_HPP
