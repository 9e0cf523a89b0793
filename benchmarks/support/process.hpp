// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BENCHMARKS_SUPPORT_PROCESS_HPP
#define INTERLOCK_BENCHMARKS_SUPPORT_PROCESS_HPP

// Contestants in processes of their own, in whatever language: how they are found and chosen, and talked to
// in lines.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

class Process {
public:
    explicit Process(std::vector<std::string> words)
    {
        int to[2];
        int from[2];
        if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0)
            throw std::runtime_error("no pipe");
        std::vector<char*> argv;
        for (auto& word : words)
            argv.push_back(word.data());
        argv.push_back(nullptr);
        auto const parent = ::getpid();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent)
                ::_exit(126);
            ::dup2(to[0], 0);
            ::dup2(from[1], 1);
            ::execvp(argv[0], argv.data());
            ::_exit(127);
        }
        ::close(to[0]);
        ::close(from[1]);
        in_ = to[1];
        out_ = from[0];
        if (pid_ < 0)
            throw std::runtime_error("cannot fork");
        name_ = words[0];
    }
    Process(Process&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)), in_(std::exchange(other.in_, -1)),
          out_(std::exchange(other.out_, -1)), name_(std::move(other.name_)), read_(std::move(other.read_))
    {}
    Process& operator=(Process&&) = delete;
    ~Process()
    {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        if (in_ >= 0)
            ::close(in_);
        if (out_ >= 0)
            ::close(out_);
    }

    void say(std::string line)
    {
        line += '\n';
        if (::write(in_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
            throw std::runtime_error(name_ + " does not listen");
    }

    /// Its next line; nothing once its output has ended. Throws when it takes longer than `patience`.
    std::optional<std::string> line(std::chrono::milliseconds patience)
    {
        auto const until = std::chrono::steady_clock::now() + patience;
        for (;;) {
            if (auto const end = read_.find('\n'); end != std::string::npos) {
                auto out = read_.substr(0, end);
                read_.erase(0, end + 1);
                return out;
            }
            auto const left = std::chrono::duration_cast<std::chrono::milliseconds>(
                until - std::chrono::steady_clock::now());
            pollfd waited{out_, POLLIN, 0};
            if (left.count() <= 0 || ::poll(&waited, 1, static_cast<int>(left.count())) == 0)
                throw std::runtime_error(name_ + " says nothing");
            char buffer[1 << 14];
            auto const got = ::read(out_, buffer, sizeof buffer);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                return std::nullopt;
            read_.append(buffer, static_cast<std::size_t>(got));
        }
    }

    /// Waits for its end. Whether it went well.
    bool ended_well()
    {
        int status = 0;
        auto const pid = std::exchange(pid_, -1);
        return pid > 0 && ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }

private:
    pid_t pid_{-1};
    int in_{-1};
    int out_{-1};
    std::string name_;
    std::string read_;
};

/// Whether the program ends well with the last `words` that ask it whether it could run.
inline bool works(std::vector<std::string> words)
{
    words.insert(words.begin(), {"sh", "-c", "exec \"$@\" 2>/dev/null", "sh"});
    return Process{std::move(words)}.ended_well();
}
/// Says that a rival which does not work is left out.
inline void say_missing(char const* name)
{
    std::fprintf(stderr, "%s is not there, and is not measured; see install_rivals.sh\n", name);
}

/// The numbers that `text` begins with.
inline std::vector<double> numbers(std::string_view text)
{
    std::string const words{text};
    std::vector<double> out;
    char const* at = words.c_str();
    for (char* end = nullptr;; at = end) {
        auto const number = std::strtod(at, &end);
        if (end == at)
            return out;
        out.push_back(number);
    }
}

/// What the command line of a program with rivals says: [--only WORKLOAD]... [--rivals DIRECTORY], and what
/// is left for `parse`.
class Choice {
public:
    /// `directory`: where the rivals are if it is not said. Ends the program if there is no such workload in
    /// `parts`, each with a `name`.
    template <class Parts>
    Choice(int argc, char** argv, std::string directory, Parts const& parts)
        : directory_(std::move(directory)), rest_{argv[0]}
    {
        for (int i = 1; i < argc; ++i) {
            std::string_view const argument = argv[i];
            if (argument == "--rivals" && i + 1 < argc)
                directory_ = argv[++i];
            else if (argument == "--only" && i + 1 < argc)
                chosen_.emplace_back(argv[++i]);
            else
                rest_.push_back(argv[i]);
        }
        for (auto const& name : chosen_) {
            bool found = false;
            for (auto const& part : parts)
                found = found || part.name == name;
            if (found)
                continue;
            std::fprintf(stderr, "no workload '%s'; there are:", name.c_str());
            for (auto const& part : parts)
                std::fprintf(stderr, " %s", std::string{part.name}.c_str());
            std::fprintf(stderr, "\n");
            std::exit(2);
        }
    }

    std::string const& directory() const noexcept { return directory_; }
    int argc() const noexcept { return static_cast<int>(rest_.size()); }
    char** argv() noexcept { return rest_.data(); }
    bool has(std::string_view name) const
    {
        bool found = chosen_.empty();
        for (auto const& one : chosen_)
            found = found || one == name;
        return found;
    }

private:
    std::string directory_;
    std::vector<std::string> chosen_;
    std::vector<char*> rest_;
};

}  // namespace bench

#endif  // INTERLOCK_BENCHMARKS_SUPPORT_PROCESS_HPP
