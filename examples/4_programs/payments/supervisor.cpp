// SPDX-License-Identifier: BSL-1.0

#include "supervisor.hpp"

#include <fmt/format.h>

#include "say.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>
#include <thread>

namespace payments {

namespace {

void check(bool good, char const* what)
{
    if (!good)
        throw std::system_error(errno, std::generic_category(), what);
}

/// A socket that listens; `options.port` becomes the one that it got.
int listen_at(Options& options)
{
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(options.port);
    if (::inet_pton(AF_INET, options.address.c_str(), &place.sin_addr) != 1)
        throw BadOption(fmt::format("--address: '{}' is not an IPv4 address", options.address));
    int const listener = ::socket(AF_INET, SOCK_STREAM, 0);
    check(listener >= 0, "socket");
    int const yes = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    socklen_t size = sizeof place;
    check(::bind(listener, reinterpret_cast<sockaddr*>(&place), size) == 0, "bind");
    check(::listen(listener, SOMAXCONN) == 0, "listen");
    check(::getsockname(listener, reinterpret_cast<sockaddr*>(&place), &size) == 0, "getsockname");
    options.port = ntohs(place.sin_port);
    return listener;
}

/// Runs this program once more, with the listener. Its own death tells the worker to end, too.
pid_t start_worker(
    std::vector<std::string_view> const& arguments, int listener, sigset_t const& signals_before)
{
    std::vector<std::string> words{"payments"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    words.insert(words.end(), {"--listener", std::to_string(listener)});
    std::vector<char*> argv;
    for (auto& word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t const supervisor = ::getpid();
    pid_t const pid = ::fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != supervisor)
            ::_exit(1);
        ::sigprocmask(SIG_SETMASK, &signals_before, nullptr);
        ::execv("/proc/self/exe", argv.data());
        ::_exit(127);
    }
    return pid;
}

}  // namespace

void keep_standard_streams()
{
    for (int const fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            // Those below it are open, so that this one is the next that is given.
            [[maybe_unused]] int const opened = ::open("/dev/null", O_RDWR);
        }
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGCHLD, SIG_DFL);
}

int supervise(Options const& given, std::vector<std::string_view> const& arguments)
{
    auto options = given;
    int const listener = listen_at(options);
    fmt::print("payments: http://{}:{}/\n", options.address, options.port);
    std::fflush(stdout);

    sigset_t signals;
    sigset_t before;
    ::sigemptyset(&signals);
    for (int const signal : {SIGTERM, SIGINT, SIGCHLD})
        ::sigaddset(&signals, signal);
    ::sigprocmask(SIG_BLOCK, &signals, &before);
    for (bool stopping = false;;) {
        pid_t const worker = start_worker(arguments, listener, before);
        int status = 0;
        while (::waitpid(worker, &status, WNOHANG) != worker) {
            int const signal = ::sigwaitinfo(&signals, nullptr);
            if (signal == SIGTERM || signal == SIGINT) {
                stopping = true;
                ::kill(worker, SIGTERM);
            }
        }
        bool const refused = WIFEXITED(status) && WEXITSTATUS(status) == 2;
        if (stopping || refused)  // a worker that had not begun yet does not know the signal
            return WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status) == SIGTERM ? 0 : 1;
        say("payments: worker {} ended by {} {} and is started again", worker,
            WIFSIGNALED(status) ? "signal" : "exit code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        // One that cannot start is not started again at once: its store may be away.
        std::this_thread::sleep_for(std::chrono::milliseconds{WIFSIGNALED(status) ? 50 : 500});
    }
}

}  // namespace payments
