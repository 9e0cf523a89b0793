// SPDX-License-Identifier: BSL-1.0

#include "processes.hpp"

#include <interlock/core/state_traits.hpp>

#include <fmt/format.h>

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace flash_sale {

namespace {

constexpr std::size_t most_runs = 20;         // of one share; then it is not the processes' fault
constexpr std::size_t most_bytes = 1U << 16;  // in one message

void check(bool good, char const* what)
{
    if (!good)
        throw std::system_error(errno, std::generic_category(), what);
}

/// This program, run once more. A socket that keeps messages apart is its standard input and output.
class Process {
public:
    explicit Process(std::vector<std::string> words)
    {
        std::array<int, 2> ends{};
        check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0, "socketpair");
        socket_ = ends[0];
        std::vector<char*> argv;
        for (auto& word : words)
            argv.push_back(word.data());
        argv.push_back(nullptr);
        auto const program = std::filesystem::read_symlink("/proc/self/exe");
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
        ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        errno = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
        bool const spawned = errno == 0;
        ::posix_spawn_file_actions_destroy(&actions);
        ::close(ends[1]);
        if (!spawned)
            ::close(socket_);
        check(spawned, "posix_spawn");
    }
    Process(Process const&) = delete;
    Process& operator=(Process const&) = delete;
    ~Process()
    {
        ::close(socket_);
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }

    pid_t pid() const noexcept { return pid_; }

    void start() const noexcept { ::shutdown(socket_, SHUT_WR); }

    /// Nothing when it has ended.
    std::optional<Message> next() const
    {
        std::string bytes(most_bytes, '\0');
        auto const size = ::recv(socket_, bytes.data(), bytes.size(), 0);
        if (size <= 0)
            return std::nullopt;
        auto message =
            interlock::StateTraits<Message>::decode({bytes.data(), static_cast<std::size_t>(size)});
        if (!message)
            throw std::runtime_error(fmt::format("process {} says what nobody understands", pid_));
        return message;
    }

    /// Waits for its end; true when it served all of its orders.
    bool succeeded()
    {
        int status = -1;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }

private:
    int socket_{-1};
    pid_t pid_{-1};
};

/// The arguments of this process, overruled where the share differs.
std::vector<std::string> command_line(
    Policy policy, std::string const& url, Options const& options, std::size_t share)
{
    std::vector<std::string> words{"flash_sale"};
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    for (auto const& [option, value] :
         {std::pair{"--policy", std::string(name_of(policy))},
          {"--backend", url},
          {"--share", fmt::format("{}/{}", share, options.processes)}}) {
        words.emplace_back(option);
        words.push_back(value);
    }
    return words;
}

}  // namespace

ProcessesEnd let_processes_sell(
    Policy policy, std::string const& url, Options const& options, std::function<void(Message)> const& heard)
{
    auto const run = [&](std::size_t share) {
        return std::make_unique<Process>(command_line(policy, url, options, share));
    };
    std::vector<std::unique_ptr<Process>> processes;
    std::string pids;
    for (std::size_t share = 0; share < options.processes; ++share) {
        processes.push_back(run(share));
        pids += fmt::format(" {}", processes.back()->pid());
    }
    fmt::print(stderr, "flash_sale: {}: processes{}\n", name_of(policy), pids);

    // Serves one share to its end, with as many processes as it takes. Who takes over need not know what the
    // lost one sold: he asks for all of it, and the store knows.
    auto const serve = [&](std::size_t share) {
        ProcessesEnd end;
        for (auto& process = processes[share];; process = run(share)) {
            if (end.lost > 0) {
                fmt::print(
                    stderr, "flash_sale: {}: a process was lost, {} takes its orders over\n", name_of(policy),
                    process->pid());
            }
            process->start();
            Message last;
            while (auto message = process->next()) {
                last.conflicts = message->conflicts;
                last.retries = message->retries;
                heard(*std::move(message));
            }
            end.conflicts += last.conflicts;
            end.retries += last.retries;
            if (process->succeeded())
                return end;
            if (++end.lost == most_runs)
                throw std::runtime_error(
                    fmt::format("{} processes with the same orders ended early", end.lost));
            if (policy == Policy::unguarded)
                return end;  // asking again would be ordering again
        }
    };
    std::vector<std::future<ProcessesEnd>> shares;
    for (std::size_t share = 0; share < options.processes; ++share)
        shares.push_back(std::async(std::launch::async, serve, share));
    ProcessesEnd all;
    for (auto& share : shares) {
        auto const end = share.get();
        all.lost += end.lost;
        all.conflicts += end.conflicts;
        all.retries += end.retries;
    }
    return all;
}

void wait_for_start()
{
    char nothing{};
    check(::recv(STDIN_FILENO, &nothing, 1, 0) == 0, "waiting for the parent process");
}

void tell_parent(Message const& message)
{
    std::string bytes;
    interlock::StateTraits<Message>::encode(message, bytes);
    // Where nobody listens any more, this process ends, too.
    check(::send(STDOUT_FILENO, bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0, "telling the parent process");
}

}  // namespace flash_sale
