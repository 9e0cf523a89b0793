// SPDX-License-Identifier: BSL-1.0

#include <interlock/core/runtime/progress.hpp>

#include <fmt/format.h>

#include "workers.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace outbox {

namespace {

constexpr std::size_t most_ends = 5;  // of workers that nobody killed; then it is not their fault

void check(bool good, char const* what)
{
    if (!good)
        throw std::system_error(errno, std::generic_category(), what);
}

/// A worker: this program, run once more. What it says comes through a pipe, a character for each `Said`; it
/// ends when the pipe to it is closed, also because this process has gone.
class Process {
public:
    explicit Process(std::vector<std::string> words)
    {
        std::array<int, 2> to{};
        std::array<int, 2> from{};
        check(::pipe2(to.data(), O_CLOEXEC) == 0, "pipe");
        check(::pipe2(from.data(), O_CLOEXEC) == 0, "pipe");
        std::vector<char*> argv;
        for (auto& word : words)
            argv.push_back(word.data());
        argv.push_back(nullptr);
        auto const program = std::filesystem::read_symlink("/proc/self/exe");
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
        ::posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
        errno = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
        bool const spawned = errno == 0;
        ::posix_spawn_file_actions_destroy(&actions);
        ::close(to[0]);
        ::close(from[1]);
        in_ = to[1];
        out_ = from[0];
        check(spawned, "posix_spawn");
    }
    Process(Process const&) = delete;
    Process& operator=(Process const&) = delete;
    ~Process()
    {
        dismiss();
        ::close(out_);
        kill();
        if (pid_ > 0)
            ::waitpid(pid_, nullptr, 0);
    }

    int output() const noexcept { return out_; }
    void dismiss() noexcept
    {
        if (in_ >= 0)
            ::close(std::exchange(in_, -1));
    }
    void kill() const noexcept
    {
        if (pid_ > 0)
            ::kill(pid_, SIGKILL);
    }
    /// Waits for its end; whether it went well.
    bool ended_well()
    {
        int status = -1;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }

private:
    int in_{-1};
    int out_{-1};
    pid_t pid_{-1};
};

/// All workers, and what they have done so far.
class Crew {
public:
    Crew(Options const& options, std::string const& place) : options_(options), place_(place)
    {
        for (std::size_t worker = 0; worker < options.processes; ++worker)
            workers_.push_back({start(worker)});
        // Moments of the work, not of time: so they are spread over it, however fast it goes.
        std::uniform_int_distribution<std::size_t> moment{0, 2 * options.sales * 9 / 10};
        for (std::size_t i = 0; i < options.kills; ++i)
            kills_.push_back(moment(random_));
        std::sort(kills_.rbegin(), kills_.rend());
    }

    std::size_t sold() const noexcept { return sold_; }
    std::size_t shipped() const noexcept { return shipped_; }
    /// Whether all have sold their shares, and no kill is left.
    bool sold_all() const
    {
        return kills_.empty() && std::all_of(workers_.begin(), workers_.end(), [](Worker const& worker) {
                   return worker.sold_all;
               });
    }

    /// Listens for a while, kills whose turn it is, and replaces whoever has gone.
    void look_after()
    {
        std::vector<pollfd> outputs;
        for (auto const& worker : workers_)
            outputs.push_back({worker.process->output(), POLLIN, 0});
        ::poll(outputs.data(), outputs.size(), 20);
        for (std::size_t i = 0; i < workers_.size(); ++i)
            if (outputs[i].revents != 0)
                listen(i);
        // Some of what a killed worker has done is never told, so the last moments may not come.
        bool const all = std::all_of(
            workers_.begin(), workers_.end(), [](Worker const& worker) { return worker.sold_all; });
        auto& victim = workers_[random_() % workers_.size()];
        if (!kills_.empty() && (sold_ + shipped_ >= kills_.back() || all) && !victim.killed) {
            kills_.pop_back();
            victim.killed = true;
            victim.process->kill();
        }
    }

    void dismiss()
    {
        for (auto& worker : workers_)
            worker.process->dismiss();
        for (auto& worker : workers_)
            if (!worker.process->ended_well())
                throw std::runtime_error("a worker failed at its end");
    }

private:
    struct Worker {
        std::unique_ptr<Process> process;
        bool sold_all{false};
        bool killed{false};
    };

    std::unique_ptr<Process> start(std::size_t worker) const
    {
        std::vector<std::string> words{
            "outbox",
            "--backend",
            place_,
            "--sales",
            std::to_string(options_.sales),
            "--processes",
            std::to_string(options_.processes),
            "--worker",
            std::to_string(worker)};
        if (options_.careless)
            words.emplace_back("--careless");
        return std::make_unique<Process>(std::move(words));
    }

    void listen(std::size_t i)
    {
        auto& worker = workers_[i];
        std::array<char, 4096> said{};
        auto const size = ::read(worker.process->output(), said.data(), said.size());
        if (size <= 0) {
            if (!worker.killed && ++ends_ == most_ends)
                throw std::runtime_error("too many workers ended early");
            worker = {start(i)};
            return;
        }
        for (auto const one : std::vector<char>(said.data(), said.data() + size))
            switch (static_cast<Said>(one)) {
            case Said::sold: ++sold_; break;
            case Said::shipped: ++shipped_; break;
            case Said::sold_all: worker.sold_all = true; break;
            }
    }

    Options const& options_;
    std::string const& place_;
    std::vector<Worker> workers_;
    std::vector<std::size_t> kills_;  // when so much is sold or shipped; the next one last
    std::size_t sold_{0};
    std::size_t shipped_{0};
    std::size_t ends_{0};
    std::mt19937_64 random_{std::random_device{}()};
};

}  // namespace

void work_in_processes(Shop const& shop, Options const& options, std::string const& place)
{
    interlock::Progress progress{std::cerr, "outbox", options.sales, "sales shipped"};
    Crew crew{options, place};
    do {
        crew.look_after();
        progress.show(crew.shipped());
    } while (!crew.sold_all() || !shop.all_shipped());
    crew.dismiss();
}

void work_for_parent(Shop const& shop, Options const& options)
{
    std::stop_source stop;
    std::jthread const listener{[&stop](std::stop_token const& over) {
        pollfd input{STDIN_FILENO, POLLIN, 0};
        while (!over.stop_requested() && ::poll(&input, 1, 100) <= 0) {
        }
        stop.request_stop();
    }};
    work(shop, options, *options.worker, stop.get_token(), [](Said said) {
        // Where nobody listens any more, there is nothing to be told.
        static_cast<void>(!::write(STDOUT_FILENO, &said, 1));
    });
}

}  // namespace outbox
