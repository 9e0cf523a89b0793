// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_TORTURE_HISTORY_HPP
#define INTERLOCK_TESTS_TORTURE_HISTORY_HPP

/// @file
/// All journals of a run, read again.

#include "torture/journal.hpp"

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace torture {

/// How a call ended, as its client was told. `open`: the client was killed before that.
enum class End : unsigned char { open, applied, not_applied, unknown, threw, rejected };

struct Call {
    std::string operation;
    std::string kind;
    std::string variant;
    std::vector<Change> changes;
    double begun{0};
    double ended{0};
    double deadline{0};
    double slept{0};
    End end{End::open};
    std::string error;
    std::string cause;
    std::string answer;
    bool replayed{false};
    std::size_t journal{0};

    std::int64_t amount_at(std::string const& key) const
    {
        for (auto const& change : changes)
            if (change.key == key)
                return change.amount;
        return 0;
    }
};

struct Interval {
    std::string key;
    std::string call;
    std::uint64_t token{0};
    double from{0};
    double to{0};
};

/// A write that was told which version it replaced, and which it made; 0: none.
struct VersionStep {
    std::string call;
    std::int64_t consumed{0};
    std::int64_t produced{0};
};

/// One entry of a state's trail.
struct Entry {
    std::string operation;
    std::string call;
    std::uint64_t token{0};
    std::int64_t after{0};
};

struct StoredState {
    std::int64_t version{0};
    std::int64_t value{0};
    std::vector<Entry> trail;
};

inline std::vector<std::string> split(std::string const& text, char by)
{
    std::vector<std::string> parts;
    std::istringstream in{text};
    for (std::string part; std::getline(in, part, by);)
        parts.push_back(part);
    return parts;
}

/// **Thread safety.** One thread at a time.
struct History {
    std::map<std::string, Call> calls;
    std::vector<std::string> order;                              // of the calls, by journal and time
    std::map<std::string, std::vector<std::string>> operations;  // their calls
    std::vector<Interval> intervals;
    std::map<std::string, std::vector<VersionStep>> versions;
    std::map<std::string, StoredState> states;
    std::map<std::string, std::int64_t> counters;
    std::vector<std::vector<std::pair<double, double>>> stalls;  // by journal
    std::vector<bool> orderly;                                   // by journal
    std::set<std::string> kinds;                                 // that the clients may choose from
    std::vector<std::string> escaped;  // what left a call without being one of its results
    std::vector<std::string> damaged;  // lines that say nothing

    void read(std::string const& path)
    {
        auto const journal = stalls.size();
        stalls.emplace_back();
        orderly.push_back(false);
        std::ifstream in{path};
        std::string line;
        while (std::getline(in, line) && !in.eof())  // the last one may be cut off: it has no end
            if (!understand(line, journal))
                damaged.push_back(line);
    }

private:
    bool understand(std::string const& line, std::size_t journal)
    {
        std::istringstream words{line};
        std::string what;
        words >> what;
        if (what == "B")
            return begin(words, journal);
        if (what == "E")
            return end(words);
        if (what == "L") {
            Interval held;
            words >> held.call >> held.key >> held.token >> held.from >> held.to;
            intervals.push_back(held);
        } else if (what == "V") {
            std::string key;
            VersionStep step;
            words >> step.call >> key >> step.consumed >> step.produced;
            versions[key].push_back(step);
        } else if (what == "Z") {
            std::pair<double, double> stall;
            words >> stall.first >> stall.second;
            stalls[journal].push_back(stall);
        } else if (what == "K") {
            return state(words);
        } else if (what == "N") {
            std::string key;
            std::int64_t value = 0;
            words >> key >> value;
            counters[key] = value;
        } else if (what == "W") {
            std::string kind;
            words >> kind;
            kinds.insert(kind);
        } else if (what == "X") {
            escaped.push_back(line);
        } else if (what == "Q") {
            orderly[journal] = true;
        } else {
            return false;
        }
        return !words.fail();
    }

    bool begin(std::istringstream& words, std::size_t journal)
    {
        std::string id;
        std::string changes;
        Call call;
        words >> id >> call.operation >> call.kind >> call.variant >> call.begun >> call.deadline >> changes;
        if (changes != "-")
            for (auto const& change : split(changes, ',')) {
                auto const colon = change.rfind(':');
                call.changes.push_back({change.substr(0, colon), std::stoll(change.substr(colon + 1))});
            }
        call.journal = journal;
        operations[call.operation].push_back(id);
        order.push_back(id);
        return calls.emplace(id, std::move(call)).second && !words.fail();
    }

    bool end(std::istringstream& words)
    {
        std::string id;
        std::string how;
        words >> id >> std::ws;
        auto const found = calls.find(id);
        if (found == calls.end() || found->second.end != End::open)
            return false;
        auto& call = found->second;
        words >> call.ended >> how >> call.error >> call.cause >> call.slept >> call.replayed >> call.answer;
        call.end = how == "applied"    ? End::applied
                   : how == "not"      ? End::not_applied
                   : how == "threw"    ? End::threw
                   : how == "rejected" ? End::rejected
                                       : End::unknown;
        return !words.fail();
    }

    bool state(std::istringstream& words)
    {
        std::string key;
        std::string trail;
        StoredState state;
        words >> key >> state.version >> state.value >> trail;
        if (trail != "-")
            for (auto const& text : split(trail, ';')) {
                auto const parts = split(text, '|');
                if (parts.size() != 4)
                    return false;
                state.trail.push_back({parts[0], parts[1], std::stoull(parts[2]), std::stoll(parts[3])});
            }
        states[key] = std::move(state);
        return !words.fail();
    }
};

}  // namespace torture

#endif  // INTERLOCK_TESTS_TORTURE_HISTORY_HPP
