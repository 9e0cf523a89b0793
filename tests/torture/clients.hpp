// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_CLIENTS_HPP
#define INTERLOCK_TESTS_TORTURE_CLIENTS_HPP

/// @file
/// The client processes of a run, which are this program again.

#include "support/child_process.hpp"
#include "torture/faults.hpp"
#include "torture/journal.hpp"
#include "torture/timeline.hpp"
#include "torture/verdict.hpp"
#include "torture/worker.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace torture {

/// A time at which a client stood still, by its journal's number; for what it was in the middle of, see
/// there.
struct Pause {
    std::size_t journal;
    double from;
    double to;
};

/// **Thread safety.** One thread at a time. The system ends all clients with the thread that started them.
class Clients {
public:
    /// `common`: what all of them are told, of which journal, name and seed are this one's to choose.
    /// `timeline`: what they draw into; null: nothing.
    Clients(
        std::string store, WorkerOptions common, std::string directory, Dice& dice, Timeline const* timeline)
        : store_(std::move(store)), common_(std::move(common)), directory_(std::move(directory)), dice_(dice),
          timeline_(timeline)
    {}

    void start(std::size_t count)
    {
        for (std::size_t i = 0; i < count; ++i) {
            clients_.emplace_back();
            revive(clients_.back());
        }
    }

    std::vector<Fault> faults()
    {
        return {
            {"SIGKILL of a client",
             [this] {
                 auto& victim = clients_[dice_.below(clients_.size())];
                 victim.process->end(SIGKILL);
                 killed_.push_back(victim.journal);
                 revive(victim);
                 return 0L;  // how many it hit is read in its journal
             }},
            {"SIGSTOP of a client",
             [this] {
                 auto const& victim = clients_[dice_.below(clients_.size())];
                 auto const from = now();
                 victim.process->send(SIGSTOP);
                 dice_.pause(1200);
                 victim.process->send(SIGCONT);
                 pauses_.push_back({victim.journal, from, now()});
                 return 0L;
             }},
        };
    }

    /// None ends by itself while nobody told it to; who did is replaced.
    void look_after(Verdict::Law const& alive)
    {
        for (auto& client : clients_)
            if (ended(*client.process)) {
                alive.broken(
                    client_of(client) + " ended with " + std::to_string(client.process->wait()) +
                    ", see stderr");
                revive(client);
            }
    }

    /// All end by themselves, soon.
    void stop(Verdict::Law const& alive, Verdict::Law const& orderly)
    {
        look_after(alive);
        for (auto const& client : clients_)
            client.process->send(SIGTERM);
        auto const until = now() + 40;
        for (auto& client : clients_) {
            while (!ended(*client.process) && now() < until)
                std::this_thread::sleep_for(std::chrono::milliseconds{10});
            if (!ended(*client.process)) {
                orderly.broken(
                    client_of(client) + " does not end; its open calls are in " + journals_[client.journal]);
                client.process->end(SIGABRT);
            } else if (auto const code = client.process->wait(); code != 0) {
                orderly.broken(client_of(client) + " ended with " + std::to_string(code) + ", see stderr");
            }
        }
        clients_.clear();
    }

    /// One more process, that settles what the others left; what it exits with.
    int settle(std::string url)
    {
        auto options = common_;
        options.url = std::move(url);
        options.settle = journals_;
        interlock_test::ChildProcess process;
        journals_.push_back(directory_ + "/settle.log");
        options.journal = journals_.back();
        options.name = "settle";
        launch(process, options);
        return process.wait();
    }

    std::vector<std::string> const& journals() const noexcept { return journals_; }
    std::vector<std::size_t> const& killed() const noexcept { return killed_; }
    std::vector<Pause> const& pauses() const noexcept { return pauses_; }

private:
    struct Client {
        std::unique_ptr<interlock_test::ChildProcess> process;
        std::size_t journal{0};
    };

    static bool ended(interlock_test::ChildProcess const& process)
    {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(process.pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid != 0;
    }
    std::string client_of(Client const& client) const { return "client w" + std::to_string(client.journal); }

    void revive(Client& client)
    {
        client.journal = journals_.size();
        auto options = common_;
        options.name = "w" + std::to_string(client.journal);
        options.journal = directory_ + "/" + options.name + ".log";
        options.seed = common_.seed * 1000 + client.journal;
        options.number = static_cast<int>(client.journal) + 1;
        if (timeline_ != nullptr)
            options.timeline = timeline_->part(options.name);
        journals_.push_back(options.journal);
        client.process = std::make_unique<interlock_test::ChildProcess>();
        launch(*client.process, options);
    }

    void launch(interlock_test::ChildProcess& process, WorkerOptions const& options) const
    {
        std::vector<std::string> words{"/proc/self/exe", "worker",
                                       "--store",        store_,
                                       "--url",          options.url,
                                       "--variant",      options.variant,
                                       "--journal",      options.journal,
                                       "--name",         options.name,
                                       "--seed",         std::to_string(options.seed),
                                       "--threads",      std::to_string(options.threads)};
        if (!options.timeline.empty())
            words.insert(
                words.end(), {"--timeline", options.timeline, "--number", std::to_string(options.number)});
        for (auto const& journal : options.settle) {
            words.push_back("--settle");
            words.push_back(journal);
        }
        // A client that is told to stop before it has a handler keeps that for later. It inherits the mask:
        // it may be told before it runs at all.
        sigset_t stop;
        sigset_t before;
        ::sigemptyset(&stop);
        ::sigaddset(&stop, SIGTERM);
        ::pthread_sigmask(SIG_BLOCK, &stop, &before);
        process.start(std::move(words), SIGKILL, [path = directory_ + "/stderr"] {
            int const file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            ::dup2(file, 2);
        });
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    std::string store_;
    WorkerOptions common_;
    std::string directory_;
    Dice& dice_;
    Timeline const* timeline_;
    std::vector<Client> clients_;
    std::vector<std::string> journals_;
    std::vector<std::size_t> killed_;
    std::vector<Pause> pauses_;
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_CLIENTS_HPP
