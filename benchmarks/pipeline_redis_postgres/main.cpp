// SPDX-License-Identifier: BSL-1.0

// Events and their handling beside the job queues of others, on a redis-server and a PostgreSQL server (with
// fsync) that this program starts.
//
//   benchmark_pipeline_redis_postgres [--only WORKLOAD]... [--rivals DIRECTORY] [option]...
//
// The other options are those that all programs here take.
// DIRECTORY is where install_rivals.sh has installed the rivals. A rival that is missing is reported as
// missing, and not measured.

#include "../../tests/support/postgres_server.hpp"
#include "../../tests/support/redis_server.hpp"
#include "../support/harness.hpp"
#include "../support/process.hpp"
#include "contestants.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using Words = std::vector<std::string>;
using std::chrono::steady_clock;

/// Runs one contestant of ours in this process: --contestant redis|postgres ADDRESS RUN WORK COUNT
int contest(int argc, char** argv)
{
    if (argc != 7)
        return 2;
    try {
        Plan const plan{argv[3], argv[4], argv[5], std::atol(argv[6])};
        std::string_view const store = argv[2];
        if (store == "redis")
            on_redis(plan);
        else
            on_postgres(plan);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "%s %s: %s\n", argv[2], argv[5], error.what());
        return 1;
    }
    return 0;
}

/// One that takes part, and on which server. Without words it is not installed.
struct Rival {
    char const* name;
    char const* store;
    Words words;
};

class Course {
public:
    Course(bench::Options options, std::string const& directory) : options_(std::move(options))
    {
        for (auto const* const store : {"redis", "postgres"})
            ours_.push_back(
                {store[0] == 'r' ? "interlock_redis" : "interlock_postgres",
                 store,
                 {"/proc/self/exe", "--contestant", store}});
        std::string const script = INTERLOCK_RIVALS_SCRIPTS "/rivals.mjs";
        all_ = ours_;
        for (auto [name, store] :
             {std::pair{"bullmq", "redis"}, {"pgboss", "postgres"}, {"graphile", "postgres"}}) {
            bool const there = bench::works({"node", script, directory, "--check", name});
            if (!there)
                bench::say_missing(name);
            all_.push_back({name, store, there ? Words{"node", script, directory, name} : Words{}});
        }
    }

    bench::Options const& options() const noexcept { return options_; }
    long size(long usual, long smoke) const noexcept { return options_.smoke ? smoke : usual; }
    int rounds(int usual) const noexcept
    {
        return options_.rounds > 0 ? options_.rounds : options_.smoke ? 1 : usual;
    }
    std::vector<Rival> const& all() const noexcept { return all_; }
    std::vector<Rival> const& ours() const noexcept { return ours_; }
    std::string next_run() { return "r" + std::to_string(++run_); }

    bench::Process start(Rival const& rival, std::string const& run, char const* work, long count) const
    {
        auto words = rival.words;
        auto const address = rival.store[0] == 'r' ? redis_.socket() : postgres_.url();
        for (auto const& word : {address, run, std::string{work}, std::to_string(count)})
            words.push_back(word);
        return bench::Process{std::move(words)};
    }
    /// What the contestant prints behind `word`.
    std::vector<double> ask(
        Rival const& rival, std::string const& run, char const* work, long count, std::string_view word) const
    {
        std::vector<double> numbers;
        auto process = start(rival, run, work, count);
        while (auto const line = process.line(std::chrono::minutes{10}))
            if (line->starts_with(word))
                for (auto const number : bench::numbers(std::string_view{*line}.substr(word.size())))
                    numbers.push_back(number);
        if (!process.ended_well())
            throw std::runtime_error(std::string(rival.name) + " failed at " + work);
        return numbers;
    }

private:
    bench::Options options_;
    interlock_test::RedisServer redis_;
    interlock_test::PostgresServer postgres_;
    std::vector<Rival> all_;
    std::vector<Rival> ours_;
    int run_{0};
};

/// All contestants do `work` with `count` jobs, in rounds. The targets are those of ours on Redis, and on
/// PostgreSQL, to each of the others on that server.
void compete(
    Course& course, char const* setting, char const* unit, char const* work, long count, int rounds,
    bench::Target::Kind kind, double on_redis, double on_postgres)
{
    std::vector<bench::Contestant> contestants;
    for (auto const& rival : course.all())
        contestants.push_back({rival.name, [&course, &rival, work, count](int) {
                                   if (rival.words.empty())
                                       return bench::not_measured;
                                   auto const run = course.next_run();
                                   if (std::string_view{work} == "work")
                                       course.ask(rival, run, "fill", count, "figure");
                                   return course.ask(rival, run, work, count, "figure").at(0);
                               }});
    for (auto [ours, theirs] : {std::pair{0, 2}, {1, 3}, {1, 4}})
        contestants[static_cast<std::size_t>(ours)].targets.push_back(
            {contestants[static_cast<std::size_t>(theirs)].name, kind, ours == 0 ? on_redis : on_postgres});
    bench::compete(course.options(), "pipeline", setting, unit, course.rounds(rounds), contestants);
}

using Kind = bench::Target::Kind;

void put(Course& course)
{
    compete(
        course, "put in, 16 callers", "jobs per second", "put", course.size(4000, 50), 5, Kind::at_least, 3,
        3);
    // Node compiles what runs often: those who put in longer put in faster.
    compete(
        course, "put in, 16 callers, 20,000 jobs", "jobs per second", "put", course.size(20'000, 50), 3,
        Kind::at_least, 3, 3);
}
void work(Course& course)
{
    compete(
        course, "worked off, with an effect each", "jobs per second", "work", course.size(10'000, 100), 5,
        Kind::at_least, 20, 3);
}
void late(Course& course)
{
    compete(
        course, "from commit to handler, 100 a second", "ms, median", "late", course.size(300, 20), 3,
        Kind::at_most, 1.5, 0.7);
}

/// What is left of `jobs` jobs after so many SIGKILLs of the worker.
struct AfterKills {
    double doubled{0};
    double lost{0};
    double seconds{0};  // until the last one was done
    double kills{0};    // that came before all was done
};

enum class Heard : unsigned char { line, nothing, all_done };

/// Waits for the next line of a worker. `look` tells whether all is done.
Heard listen(bench::Process& worker, std::function<bool()> const& look)
{
    for (int silent = 0; silent < 20; ++silent)
        try {
            return worker.line(std::chrono::seconds{1}) ? Heard::line : Heard::nothing;
        } catch (std::runtime_error const&) {
            if (look())
                return Heard::all_done;
        }
    return Heard::nothing;
}

AfterKills kill_workers(Course& course, Rival const& rival, long jobs, int kills)
{
    auto const run = course.next_run();
    course.ask(rival, run, "fill", jobs, "figure");
    auto const begin = steady_clock::now();
    auto const patience = std::chrono::seconds{course.size(180, 8)};
    auto const since = [&] { return std::chrono::duration<double>(steady_clock::now() - begin).count(); };
    AfterKills after;
    auto const look = [&] {
        auto const effects = course.ask(rival, run, "effects", jobs, "effects");
        after = {effects.at(1), static_cast<double>(jobs) - effects.at(0), since(), after.kills};
        return after.lost == 0;
    };
    auto heard = Heard::line;
    for (int i = 0; i < kills && heard == Heard::line; ++i) {
        auto worker = course.start(rival, run, "worker", jobs);
        for (long done = 0; done < jobs / (kills + 2) && heard == Heard::line; done += 50)
            heard = steady_clock::now() < begin + patience ? listen(worker, look) : Heard::nothing;
        after.kills += heard == Heard::line ? 1 : 0;
    }  // the worker's end is a SIGKILL; one that says nothing has nothing to do that it can see
    if (heard == Heard::all_done)
        return after;
    auto const worker = course.start(rival, run, "worker", jobs);
    while (!look() && steady_clock::now() < begin + patience)
        std::this_thread::sleep_for(std::chrono::milliseconds{500});
    return after;
}

void kill(Course& course)
{
    auto const jobs = course.size(20'000, 500);
    auto const kills = static_cast<int>(course.size(10, 2));
    auto const setting = std::to_string(kills) + " SIGKILLs, " + std::to_string(jobs) + " jobs: ";
    std::vector<bench::Contestant> contestants;
    std::vector<AfterKills> all;
    for (auto const& rival : course.all()) {
        contestants.push_back({rival.name, nullptr, {}});
        auto const none = bench::not_measured;
        all.push_back(
            rival.words.empty() ? AfterKills{none, none, none, none}
                                : kill_workers(course, rival, jobs, kills));
    }
    auto const show = [&](char const* what, char const* unit, double AfterKills::* member) {
        std::vector<std::vector<double>> figures;
        for (std::size_t i = 0; i < all.size(); ++i) {
            figures.push_back({all[i].*member});
            bench::row(
                course.options(), "pipeline", setting + what, contestants[i].name, 0, all[i].*member, unit);
        }
        bench::table(course.options(), "pipeline", setting + what, unit, contestants, figures);
    };
    show("doubled", "jobs", &AfterKills::doubled);
    show("not done in time", "jobs", &AfterKills::lost);
    show("the last one after, or given up", "seconds", &AfterKills::seconds);
    show("kills before that", "kills", &AfterKills::kills);
    for (std::size_t i = 0; i < course.ours().size(); ++i)
        if (all[i].doubled > 0 || all[i].lost > 0)
            throw std::runtime_error(contestants[i].name + " has doubled or lost jobs");
}

void growth(Course& course)
{
    std::vector<bench::Contestant> contestants;
    auto const counts =
        course.options().smoke ? std::vector<long>{100, 1000} : std::vector<long>{10'000, 100'000, 1'000'000};
    for (auto const& rival : course.ours())
        for (auto const count : counts) {
            auto const name = [&](long stored) {
                return std::string{rival.name} + "_" + std::to_string(stored);
            };
            contestants.push_back(
                {name(count), [&course, &rival, count](int) {
                     return course.ask(rival, course.next_run(), "growth", count, "figure").at(0);
                 }});
            if (count != counts[0])
                contestants.back().targets.push_back({name(counts[0]), Kind::at_most, 1.2});
        }
    bench::compete(
        course.options(), "pipeline", "put in and worked off, with so many stored", "us per event",
        course.rounds(3), contestants);
}

struct Part {
    std::string_view name;
    void (*compare)(Course&);
};
constexpr Part parts[] = {{"put", put}, {"work", work}, {"late", late}, {"kill", kill}, {"growth", growth}};

}  // namespace

int main(int argc, char** argv)
{
    if (argc > 1 && std::strcmp(argv[1], "--contestant") == 0)
        return contest(argc, argv);
    ::signal(SIGPIPE, SIG_IGN);
    bench::Choice choice{argc, argv, INTERLOCK_RIVALS_DIRECTORY, parts};
    try {
        Course course{bench::parse(choice.argc(), choice.argv()), choice.directory()};
        for (auto const& part : parts)
            if (choice.has(part.name))
                part.compare(course);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "pipeline: %s\n", error.what());
        return 1;
    }
    return 0;
}
