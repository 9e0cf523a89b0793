// SPDX-License-Identifier: BSL-1.0

// The library's locks on Redis beside the locks of others, on a redis-server that this program starts, over a
// unix socket.
//
//   benchmark_redis_rivals [--only WORKLOAD]... [--rivals DIRECTORY], and the options that all programs here
//   take
//
// DIRECTORY is where install_rivals.sh has installed the rivals. A rival that is missing is reported as
// missing, and not measured.

#include "../support/process.hpp"
#include "contestants.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using Kind = bench::Target::Kind;
using Words = std::vector<std::string>;

struct Entry {
    std::string_view name;
    void (*run)(Plan const&, Arguments const&);
};
constexpr Entry entries[] = {
    {"distinct_fenced", distinct_fenced},
    {"distinct_efficiency", distinct_efficiency},
    {"distinct_bare", distinct_bare},
    {"one_key", one_key},
    {"processes", processes},
    {"section", section},
    {"section_threads", section_threads},
    {"leases", leases},
    {"growth", growth},
};

/// Runs one contestant in this process: --contestant NAME SOCKET SECONDS RUN ARGUMENT...
int contest(int argc, char** argv)
{
    if (argc < 6)
        return 2;
    auto const* const entry = std::find_if(std::begin(entries), std::end(entries), [&](Entry const& each) {
        return each.name == std::string_view{argv[2]};
    });
    if (entry == std::end(entries))
        return 2;
    try {
        entry->run({argv[3], std::atof(argv[4]), std::atoi(argv[5])}, Arguments(argv + 6, argv + argc));
    } catch (std::exception const& error) {
        std::fprintf(stderr, "%s: %s\n", argv[2], error.what());
        return 1;
    }
    return 0;
}

/// The command that starts a contestant, without its name, socket, seconds and run. Empty: the contestant is
/// not installed.
struct Programs {
    Words ours{"/proc/self/exe", "--contestant"};
    Words redis_py;
    Words redlock;
};

bool can_run(Words words)
{
    words.emplace_back("--check");
    return bench::works(std::move(words));
}

Programs find_programs(std::string const& directory)
{
    std::string const scripts = INTERLOCK_RIVALS_SCRIPTS;
    Programs programs;
    // The distribution's Python has redis-py, and another one may stand in front of it.
    for (auto const* const python : {"python3", "/usr/bin/python3"})
        if (Words words{python, scripts + "/redis_py.py"}; programs.redis_py.empty() && can_run(words))
            programs.redis_py = words;
    if (Words words{"node", scripts + "/redlock.mjs", directory}; can_run(words))
        programs.redlock = words;
    for (auto const& [name, found] :
         {std::pair{"redis-py", !programs.redis_py.empty()}, std::pair{"redlock", !programs.redlock.empty()}})
        if (!found)
            bench::say_missing(name);
    return programs;
}

/// What the processes of one run have printed, taken together.
struct Result {
    double sections{bench::not_measured};  // per second
    double cpu{0};                         // seconds
    double server_cpu{0};
    double cpu_each{0};  // microseconds per section
    double server_cpu_each{0};
    double commands{0};             // per section
    double p99_to_mean{0};          // of the waits
    double fairness{0};             // between processes, in the worst second
    double fairness_of_waiters{0};  // over the whole run
    double lost{0};
};

/// Jain's index of fairness: 1 when all have the same, 1/n when one of n has everything.
double jain(std::vector<double> const& shares)
{
    double sum = 0;
    double squares = 0;
    for (auto const share : shares) {
        sum += share;
        squares += share * share;
    }
    return squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 0;
}

/// Jain's index in the worst second; a second may begin at each tenth. `bins[process]` has the sections in
/// each 100 ms.
double worst_second(std::vector<std::vector<double>> const& bins)
{
    double worst = 1;
    auto const tenths = std::min<std::size_t>(10, bins[0].size());
    for (std::size_t begin = 0; begin + tenths <= bins[0].size(); ++begin) {
        std::vector<double> shares;
        for (auto const& bin : bins) {
            double sum = 0;
            for (std::size_t i = begin; i < begin + tenths; ++i)
                sum += bin.at(i);
            shares.push_back(sum);
        }
        worst = std::min(worst, jain(shares));
    }
    return worst;
}

double p99_to_mean(std::map<double, double> const& waits)
{
    double count = 0;
    double sum = 0;
    for (auto const& [wait, times] : waits) {
        count += times;
        sum += wait * times;
    }
    double below = 0;
    for (auto const& [wait, times] : waits) {
        below += times;
        if (below >= 0.99 * count)
            return wait / (sum / count);
    }
    return 0;
}

/// The numbers behind `name` in the section `section` of the server's INFO.
double info(
    interlock_test::RedisServer const& server, char const* section,
    std::initializer_list<std::string_view> names)
{
    auto const text = server.command({"INFO", section});
    double sum = 0;
    for (auto const name : names)
        // Behind a title.
        if (auto const at = text.find(std::string(1, '\n').append(name)); at != std::string::npos)
            sum += std::strtod(text.c_str() + at + 1 + name.size(), nullptr);
    return sum;
}

double server_cpu(interlock_test::RedisServer const& server)
{
    return info(server, "cpu", {"used_cpu_sys:", "used_cpu_user:"});
}

std::chrono::milliseconds patience(double seconds)
{
    return std::chrono::milliseconds{120'000 + static_cast<long>(seconds * 2000)};
}

/// Runs `program` by the contestant `name`, in so many processes that begin together.
Result run(
    bench::RedisRuns& runs, Words program, std::string const& name, double seconds, std::size_t processes = 1,
    Words const& arguments = {})
{
    Result result;
    if (program.empty())
        return result;
    auto const plan = runs.plan(seconds);
    auto const& server = runs.server();
    program.insert(program.end(), {name, plan.socket, std::to_string(seconds), std::to_string(plan.run)});
    program.insert(program.end(), arguments.begin(), arguments.end());
    std::vector<bench::Process> all;
    for (std::size_t i = 0; i < processes; ++i)
        all.emplace_back(program);
    for (auto& one : all)
        if (one.line(patience(0)) != "ready")
            throw std::runtime_error(name + " did not become ready");
    static_cast<void>(server.command({"CONFIG", "RESETSTAT"}));
    auto const cpu_before = server_cpu(server);
    auto const begin = std::chrono::system_clock::now() + std::chrono::milliseconds{20};
    char line[64];
    std::snprintf(
        line, sizeof line, "go %.6f", std::chrono::duration<double>(begin.time_since_epoch()).count());
    for (auto& one : all)
        one.say(line);
    std::vector<double> waiters;
    std::vector<std::vector<double>> bins;
    std::map<double, double> waits;
    result.sections = 0;
    for (auto& one : all) {
        while (auto const said = one.line(patience(seconds))) {
            auto const space = std::min(said->find(' '), said->size());
            auto const word = said->substr(0, space);
            auto const figures = bench::numbers(std::string_view{*said}.substr(space));
            if (figures.empty())
                continue;
            if (word == "sections")
                result.sections += figures[0];
            else if (word == "cpu")
                result.cpu += figures[0];
            else if (word == "lost")
                result.lost += figures[0];
            else if (word == "waiters")
                waiters.insert(waiters.end(), figures.begin(), figures.end());
            else if (word == "bins")
                bins.push_back(figures);
            else if (word == "wait")
                waits[figures[0]] += figures.at(1);
        }
        if (!one.ended_well())
            throw std::runtime_error(name + " failed");
    }
    result.server_cpu = server_cpu(server) - cpu_before;
    // Only commands that were sent count. Scripts call GET, SET and DEL, which the server counts as well;
    // only redis-py sends such a command itself, one SET for each attempt.
    result.commands = info(server, "commandstats", {"cmdstat_evalsha:calls=", "cmdstat_eval:calls="});
    if (program[1].ends_with("redis_py.py"))
        result.commands += info(server, "commandstats", {"cmdstat_set:calls="});
    auto const count = std::max(result.sections * seconds, 1.0);
    result.commands /= count;
    result.cpu_each = 1e6 * result.cpu / count;
    result.server_cpu_each = 1e6 * result.server_cpu / count;
    result.fairness_of_waiters = jain(waiters);
    result.p99_to_mean = p99_to_mean(waits);
    if (bins.size() == processes)
        result.fairness = worst_second(bins);
    return result;
}

/// The contestants of a workload, and the other figures of their runs.
class Workload {
public:
    Workload(bench::RedisRuns& runs, char const* name, std::string setting, double seconds)
        : runs_(runs), name_(name), setting_(std::move(setting)), seconds_(seconds)
    {}

    void add(
        std::string name, Words program, std::string contestant, std::vector<bench::Target> targets,
        std::size_t processes = 1)
    {
        auto& results = *results_.emplace_back(std::make_unique<std::vector<Result>>());
        contestants_.push_back(
            {std::move(name),
             [this, &results, program = std::move(program), contestant = std::move(contestant),
              processes](int) {
                 return results.emplace_back(run(runs_, program, contestant, seconds_, processes)).sections;
             },
             std::move(targets)});
    }
    void compete(int rounds)
    {
        bench::compete(
            runs_.options(), name_, setting_, "sections per second", runs_.rounds(rounds), contestants_);
    }
    /// Adds another figure of the runs so far. `targets`: by the names of the contestants.
    void show(
        char const* what, char const* unit, double Result::* figure,
        std::map<std::string, bench::Target> const& targets = {})
    {
        std::vector<std::vector<double>> figures;
        auto contestants = contestants_;
        auto const setting = setting_ + ": " + what;
        for (std::size_t i = 0; i < contestants.size(); ++i) {
            auto& of_one = figures.emplace_back();
            for (auto const& result : *results_[i]) {
                of_one.push_back(std::isnan(result.sections) ? bench::not_measured : result.*figure);
                bench::row(
                    runs_.options(), name_, setting, contestants[i].name, static_cast<int>(of_one.size()) - 1,
                    of_one.back(), unit);
            }
            contestants[i].targets.clear();
            if (auto const target = targets.find(contestants[i].name); target != targets.end())
                contestants[i].targets.push_back(target->second);
        }
        bench::table(runs_.options(), name_, setting, unit, contestants, figures);
    }

private:
    bench::RedisRuns& runs_;
    char const* name_;
    std::string setting_;
    double seconds_;
    std::vector<bench::Contestant> contestants_;
    std::vector<std::unique_ptr<std::vector<Result>>> results_;
};

double seconds_of(bench::RedisRuns const& runs, double usual, double smoke = 0.2)
{
    return runs.options().seconds > 0 ? runs.options().seconds : runs.smoke() ? smoke : usual;
}

void compare_distinct(bench::RedisRuns& runs, Programs const& programs)
{
    Workload workload{runs, "redis_rivals", "512 keys at once", seconds_of(runs, 1)};
    workload.add("bare_batches", programs.ours, "distinct_bare", {});
    workload.add(
        "interlock_fenced", programs.ours, "distinct_fenced",
        {{"redlock", Kind::at_least, 4},
         {"bare_batches", Kind::at_least, 1.2},
         {"redlock_auto_pipelining", Kind::at_least, 0}});
    workload.add(
        "interlock_efficiency", programs.ours, "distinct_efficiency",
        {{"redlock", Kind::at_least, 6},
         {"bare_batches", Kind::at_least, 0},
         {"redlock_auto_pipelining", Kind::at_least, 0}});
    workload.add("redlock", programs.redlock, "distinct", {});
    workload.add("redlock_auto_pipelining", programs.redlock, "distinct_auto_pipelining", {});
    workload.compete(7);
    workload.show("time of the process", "us of processor per section", &Result::cpu_each);
    workload.show("time of the server", "us of processor per section", &Result::server_cpu_each);
}

void compare_one_key(bench::RedisRuns& runs, Programs const& programs)
{
    Workload workload{runs, "redis_rivals", "64 waiters for one key", seconds_of(runs, 1)};
    workload.add(
        "interlock", programs.ours, "one_key",
        {{"redis_py", Kind::at_least, 50}, {"redlock", Kind::at_least, 50}});
    workload.add("redis_py", programs.redis_py, "one_key", {});
    workload.add("redlock", programs.redlock, "one_key", {});
    workload.compete(7);
    workload.show(
        "commands", "commands per section", &Result::commands, {{"interlock", {"", Kind::at_most, 0.2}}});
    workload.show("fairness between waiters", "Jain's index", &Result::fairness_of_waiters);
}

void compare_processes(bench::RedisRuns& runs, Programs const& programs)
{
    Workload workload{runs, "redis_rivals", "4 processes x 16 waiters", seconds_of(runs, 4, 1.2)};
    workload.add("interlock", programs.ours, "processes", {{"redlock", Kind::at_least, 5}}, 4);
    workload.add("redlock", programs.redlock, "processes", {}, 4);
    workload.compete(5);
    workload.show(
        "fairness between processes", "Jain's index of the worst second", &Result::fairness,
        {{"interlock", {"", Kind::at_least, 0.95}}});
    workload.show("waits", "p99 / mean", &Result::p99_to_mean, {{"interlock", {"", Kind::at_most, 4}}});
    workload.show("commands", "commands per section", &Result::commands);
}

void compare_section(bench::RedisRuns& runs, Programs const& programs)
{
    Workload workload{runs, "redis_rivals", "64 callers increment one value", seconds_of(runs, 1)};
    workload.add("interlock", programs.ours, "section", {{"redis_py", Kind::at_least, 10}});
    workload.add("interlock_threads", programs.ours, "section_threads", {{"redis_py", Kind::at_least, 10}});
    workload.add("redis_py", programs.redis_py, "section", {});
    workload.compete(7);
    workload.show("commands", "script calls (redis_py: and SET) per section", &Result::commands);
}

void keep_leases(bench::RedisRuns& runs, Programs const& programs)
{
    auto const seconds = runs.smoke() ? 1.5 : runs.options().seconds > 0 ? runs.options().seconds : 60.0;
    auto const count = runs.smoke() ? 200 : 10'000;
    auto const ttl = runs.smoke() ? "3000" : "10000";
    auto const result = run(runs, programs.ours, "leases", seconds, 1, {std::to_string(count), ttl});
    auto const setting = std::to_string(count) + " leases kept";
    auto const show = [&](char const* what, char const* unit, double figure,
                          std::vector<bench::Target> targets) {
        bench::row(runs.options(), "redis_rivals", setting + ": " + what, "interlock", 0, figure, unit);
        bench::table(
            runs.options(), "redis_rivals", setting + ": " + what, unit,
            {{"interlock", nullptr, std::move(targets)}}, {{figure}});
    };
    show("lost", "leases", result.lost, {{"", Kind::at_most, 0.5}});
    show(
        "processor", "% of one core", 100 * result.cpu / seconds,
        {{"", Kind::at_most, runs.smoke() ? 0.0 : 3.0}});
    show("processor of the server", "% of one core", 100 * result.server_cpu / seconds, {});
    if (result.lost > 0)
        throw std::runtime_error("leases were lost");
}

/// A process that holds `count` locks on a server that nobody else uses.
class Holder {
public:
    Holder(Words program, std::size_t count, bench::Placement& placement)
    {
        placement.place(server_);
        program.insert(program.end(), {"growth", server_.socket(), "0", "0", std::to_string(count)});
        process_.emplace(std::move(program));
        while (auto const line = process_->line(std::chrono::minutes{10})) {
            if (*line == "ready")
                return;
            read(*line);
        }
        throw std::runtime_error("growth did not become ready");
    }
    double ask(std::string line)
    {
        process_->say(std::move(line));
        while (auto const said = process_->line(std::chrono::minutes{10}))
            if (read(*said) == "figure")
                return figures_["figure"];
        throw std::runtime_error("growth failed");
    }
    /// The figure that the process told last.
    double figure(std::string const& name) { return figures_[name]; }

private:
    std::string read(std::string const& line)
    {
        auto const space = std::min(line.find(' '), line.size());
        if (auto const values = bench::numbers(std::string_view{line}.substr(space)); !values.empty())
            figures_[line.substr(0, space)] = values[0];
        return line.substr(0, space);
    }

    interlock_test::RedisServer server_;
    std::optional<bench::Process> process_;
    std::map<std::string, double> figures_;
};

void compare_growth(bench::RedisRuns& runs, Programs const& programs)
{
    auto const counts =
        runs.smoke() ? std::vector<std::size_t>{1, 1000} : std::vector<std::size_t>{1, 10'000, 1'000'000};
    auto const name = [](std::size_t count) { return std::to_string(count) + "_held"; };
    bench::Placement placement{true};
    std::vector<std::unique_ptr<Holder>> holders;
    for (auto const count : counts)
        holders.push_back(std::make_unique<Holder>(programs.ours, count, placement));

    std::vector<bench::Contestant> bytes;
    std::vector<std::vector<double>> figures;
    auto const weigh = [&](std::string what, double figure) {
        bench::row(runs.options(), "redis_rivals", "growth: memory", what, 0, figure, "bytes");
        bytes.push_back({std::move(what), nullptr, {}});
        figures.push_back({figure});
    };
    auto& largest = *holders.back();
    weigh("held_lock_server", largest.figure("server"));
    weigh("held_lock_process", largest.figure("process"));
    weigh("waiter_process", holders.front()->ask(runs.smoke() ? "waiters 1000" : "waiters 100000"));
    weigh("waiter_server", holders.front()->figure("server"));
    bench::table(runs.options(), "redis_rivals", "growth: memory", "bytes each", bytes, figures);

    // One thread depends above all on the host, so it gets many short turns. 512 coroutines also depend on
    // warm caches, so they get fewer and longer ones.
    struct Way {
        char const* setting;
        char const* word;
        double seconds;
        int rounds;
    };
    for (auto const& way :
         {Way{"growth: one thread", "one", 0.05, 75},
          Way{"growth: one thread, another service", "fresh", 0.05, 75},
          Way{"growth: 512 coroutines", "many", 0.5, 9}}) {
        auto const order = way.word + (" " + std::to_string(seconds_of(runs, way.seconds, 0.05)));
        std::vector<bench::Contestant> contestants;
        for (std::size_t i = 0; i < counts.size(); ++i) {
            std::vector<bench::Target> targets;
            if (i > 0)
                targets.push_back({name(counts[0]), Kind::at_most, runs.smoke() ? 0.0 : 1.2});
            contestants.push_back(
                {name(counts[i]), [&holder = *holders[i], &order](int) { return holder.ask(order); },
                 std::move(targets)});
        }
        bench::compete(
            runs.options(), "redis_rivals", way.setting, "us for acquire and release of another key",
            runs.rounds(way.rounds), contestants);
    }
}

struct Part {
    std::string_view name;
    void (*compare)(bench::RedisRuns&, Programs const&);
};
constexpr Part parts[] = {
    {"distinct", compare_distinct}, {"one_key", compare_one_key}, {"processes", compare_processes},
    {"section", compare_section},   {"leases", keep_leases},      {"growth", compare_growth},
};

}  // namespace

int main(int argc, char** argv)
{
    if (argc > 1 && std::strcmp(argv[1], "--contestant") == 0)
        return contest(argc, argv);
    ::signal(SIGPIPE, SIG_IGN);
    bench::Choice choice{argc, argv, INTERLOCK_RIVALS_DIRECTORY, parts};
    return bench::redis_main(choice.argc(), choice.argv(), "redis_rivals", 1, [&](bench::RedisRuns& runs) {
        auto const programs = find_programs(choice.directory());
        for (auto const& part : parts)
            if (choice.has(part.name))
                part.compare(runs, programs);
    });
}
