// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_CHILD_PROCESS_HPP
#define INTERLOCK_TESTS_SUPPORT_CHILD_PROCESS_HPP

/// @file
/// A program that runs beside a test and ends with it, and what real servers need to keep out of each other's
/// way.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace interlock_test {

/// **Thread safety.** One thread at a time. The system ends the program with the thread that started it.
class ChildProcess {
public:
    ChildProcess() = default;
    ChildProcess(ChildProcess const&) = delete;
    ChildProcess& operator=(ChildProcess const&) = delete;
    ~ChildProcess() { end(SIGKILL); }

    /// `prepare` runs in the child before the program does. A test that crashes leaves none behind: the
    /// program gets the signal `at_death` then.
    template <class Prepare>
    void start(std::vector<std::string> words, int at_death, Prepare prepare)
    {
        std::vector<char*> arguments;
        for (auto& word : words)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        auto const parent = ::getpid();
        name_ = words[0];
        pid_ = ::fork();
        if (pid_ < 0)
            throw std::runtime_error("cannot fork for " + name_);
        if (pid_ > 0)
            return;
        prepare();
        ::prctl(PR_SET_PDEATHSIG, at_death);  // behind prepare: a change of user forgets it
        if (::getppid() != parent)
            ::_exit(126);
        ::execvp(arguments[0], arguments.data());
        ::_exit(127);
    }

    /// Until `ready()`. Throws when the program ends before that, or half a minute is over, with `why()`
    /// behind what that says.
    template <class Ready, class Why>
    void await(Ready ready, Why why)
    {
        auto const end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
        while (!ready()) {
            if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
                pid_ = -1;
                throw std::runtime_error(name_ + " ended at once" + why());
            }
            if (std::chrono::steady_clock::now() >= end)
                throw std::runtime_error(name_ + " does not answer" + why());
            std::this_thread::sleep_for(std::chrono::milliseconds{2});
        }
    }

    /// -1 when there is none.
    pid_t pid() const noexcept { return pid_; }

    /// Until it ends by itself; what it exits with, or 1.
    int wait() noexcept
    {
        int status = -1;
        ::waitpid(pid_, &status, 0);
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }

    /// Sends `signal`, and waits until it has ended.
    void end(int signal) noexcept
    {
        send(signal);
        if (pid_ > 0)
            static_cast<void>(wait());
    }
    void send(int signal) const noexcept
    {
        if (pid_ > 0)
            ::kill(pid_, signal);
    }

private:
    std::string name_;
    pid_t pid_{-1};
};

/// Of 127.0.0.1, until somebody else takes it.
inline std::uint16_t free_port()
{
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    bool const found = ::bind(fd, name, size) == 0 && ::getsockname(fd, name, &size) == 0;
    ::close(fd);
    if (!found)
        throw std::runtime_error("no free port");
    return ntohs(address.sin_port);
}

/// A name space that nobody used before in this process, without anything in it.
inline std::string fresh_name_space()
{
    static std::atomic<int> count{0};
    return "test" + std::to_string(count.fetch_add(1));
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_CHILD_PROCESS_HPP
