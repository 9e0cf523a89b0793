// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_JOURNAL_HPP
#define INTERLOCK_TESTS_TORTURE_JOURNAL_HPP

/// @file
/// What a client writes down of itself, before and after each call. A line is one write to the file, so that
/// what is written survives a kill of the client.
///
///     W kind                                                        a kind of call that the client may make
///     B call operation kind variant time deadline key:amount[,...]  a call begins
///     E call time end error cause slept replayed answer             and ends
///     X call kind text                                              it left by an exception of nobody's
///     L call key token from to                                      a lock handle was valid between
///     V call key consumed produced                                  versions that a write was told of
///     Z from to                                                     the process stood still
///     K key version value trail                                     at the end: a state in the store
///     N key value                                                   at the end: a counter
///     Q                                                             an orderly end

#include <fmt/format.h>

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace torture {

/// Seconds of the one clock that all processes of a machine share and that goes on while one of them is
/// stopped.
inline double now() noexcept
{
    timespec time{};
    ::clock_gettime(CLOCK_BOOTTIME, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// One word: what has none is "-", and blanks become '_'.
inline std::string word(std::string_view text)
{
    std::string out(text.empty() ? "-" : text);
    for (char& c : out)
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
            c = '_';
    return out;
}

/// **Thread safety.** Everything: safe.
class Journal {
public:
    explicit Journal(std::string const& path)
        : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644))
    {
        if (file_ < 0)
            throw std::runtime_error("cannot write " + path);
    }
    Journal(Journal const&) = delete;
    Journal& operator=(Journal const&) = delete;
    ~Journal() { ::close(file_); }

    void line(std::string text)
    {
        text += '\n';
        if (::write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
            throw std::runtime_error("a journal cannot be written");
    }

private:
    int file_;
};

/// What a call is to do to a state.
struct Change {
    std::string key;
    std::int64_t amount{1};
};

/// One call of a client. `operation` is what may be applied once, however many calls ask for it.
struct CallPlan {
    std::string call;
    std::string operation;
    std::string_view kind;
    std::string variant{"-"};
    double deadline{5};
    std::vector<Change> changes;
};

inline void tell_begin(Journal& journal, CallPlan const& plan)
{
    std::string changes;
    for (auto const& change : plan.changes)
        changes += fmt::format("{}{}:{}", changes.empty() ? "" : ",", change.key, change.amount);
    journal.line(fmt::format(
        "B {} {} {} {} {:.6f} {:.3f} {}", plan.call, plan.operation, plan.kind, plan.variant, now(),
        plan.deadline, word(changes)));
}

/// How a call ended; `answer` is what it was given, or the text of a rejection.
struct CallEnd {
    std::string_view end;  // applied, not, unknown, threw or rejected
    std::string_view error{"ok"};
    std::string cause{};
    bool replayed{false};
    std::string answer{};
};

/// `slept`: seconds that the call's own operation took.
inline void tell_end(Journal& journal, CallPlan const& plan, double slept, CallEnd const& end)
{
    journal.line(fmt::format(
        "E {} {:.6f} {} {} {} {:.3f} {} {}", plan.call, now(), end.end, end.error, word(end.cause), slept,
        end.replayed ? 1 : 0, word(end.answer)));
}

/// How an effect is written into the trail of the state that it changes.
inline std::string trail_entry(CallPlan const& plan, std::uint64_t token, std::int64_t after)
{
    return fmt::format("{}|{}|{}|{};", plan.operation, plan.call, token, after);
}

/// What an operation answers: whose run it was, where, and what became of the state.
inline std::string answer_of(CallPlan const& plan, std::string_view key, std::int64_t after)
{
    return fmt::format("{}@{}={}", plan.call, key, after);
}

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_JOURNAL_HPP
