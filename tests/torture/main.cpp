// SPDX-License-Identifier: BSL-1.0

// Tortures one store: several client processes work on few hot states by every policy, while they, the
// network and the server are hurt in every way; at the end what each client was told is compared with what is
// stored. See `--help`.

#include <interlock/core/runtime/progress.hpp>

#include <fmt/format.h>

#include "torture/checks.hpp"
#include "torture/clients.hpp"
#include "torture/faults.hpp"
#include "torture/history.hpp"
#include "torture/timeline.hpp"
#include "torture/verdict.hpp"
#include "torture/worker.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#ifdef __SANITIZE_THREAD__
/// How a future shares an exception between threads, the sanitizer cannot see: the count stands in the
/// standard library.
extern "C" char const* __tsan_default_suppressions()
{
    return "race:std::__exception_ptr::exception_ptr::_M_release\n";
}
#endif

namespace torture {

namespace {

constexpr std::string_view usage =
    R"(usage: interlock_torture --store <store> [--seconds S] [--seed N] [--workers P]
                         [--threads T] [--variant V] [--calm] [--keep] [--timeline FILE]

  --seconds   how long (default: 120)
  --seed      of the faults and of each client's choices (default: from the clock); what the threads make of
              it is the system's
  --workers   client processes (default: 3; a store without a server: 1)
  --threads   of each (default: 4; a store without a server: 8)
  --variant   how the store is used, if it can be used in several ways: see below
  --calm      no faults
  --keep      the journals stay, also when nothing is wrong
  --timeline  who held what when, what each call came to, and a row of the faults, also of clients that were
              killed: https://ui.perfetto.dev opens the file. It slows the clients down; of each client the
              first 40 MB are kept

stores, and their variants:
)";

std::string whole_usage()
{
    std::string text{usage};
    for (auto const& [name, store] : stores())
        text += fmt::format("  {:<12}{}\n", name, store.variants);
    return text;
}

struct Options {
    std::string store;
    std::string variant{};
    int seconds{120};
    std::uint64_t seed{0};
    int workers{0};
    int threads{0};
    bool calm{false};
    bool keep{false};
    std::string timeline{};
};

template <class Number>
Number number(std::string_view name, std::string_view text)
{
    Number value{};
    auto const end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end.ec != std::errc{} || end.ptr != text.data() + text.size())
        throw std::invalid_argument(fmt::format("{} needs a number, not '{}'", name, text));
    return value;
}

TorturedStore const& store_named(std::string const& name)
{
    auto const found = stores().find(name);
    if (found == stores().end())
        throw std::invalid_argument("there is no store '" + name + "'");
    return found->second;
}

/// None: the store lives in its only client.
std::unique_ptr<TorturedServer> make_server(Options const& options)
{
    auto const& store = store_named(options.store);
    return store.make_server ? store.make_server(options.variant) : nullptr;
}

std::string fresh_directory()
{
    auto pattern = (std::filesystem::temp_directory_path() / "interlock-torture-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
        throw std::runtime_error("no temporary directory");
    return pattern;
}

/// How often each kind of fault was made to happen, and how many it hit.
struct Struck {
    long times{0};
    long hit{0};
};

constexpr double never = 1e18;

/// Calls that were under way while a client stood still; `never`: when it was killed.
long calls_across(History const& history, std::size_t journal, double from, double to)
{
    return std::count_if(history.calls.begin(), history.calls.end(), [&](auto const& entry) {
        auto const& call = entry.second;
        return call.journal == journal && call.begun <= from && (call.end == End::open || call.ended >= to);
    });
}

class Run {
public:
    explicit Run(Options options)
        : options_(std::move(options)), directory_(fresh_directory()), dice_(options_.seed),
          server_(make_server(options_))
    {
        if (!options_.timeline.empty())
            timeline_ = std::make_unique<Timeline>(options_.timeline, directory_);
        if (server_)
            proxy_ = std::make_unique<LossyProxy>(server_->socket(), options_.seed + 7);
        WorkerOptions common;
        common.url = server_ ? server_->url(proxy_->port()) : "-";
        common.variant = options_.variant;
        common.seed = options_.seed;
        common.threads = options_.threads;
        clients_ =
            std::make_unique<Clients>(options_.store, std::move(common), directory_, dice_, timeline_.get());
    }

    bool go()
    {
        auto const alive = verdict_.law("no client ends by itself");
        auto const orderly =
            verdict_.law("a client that is told to stop ends: no call hangs, nothing is destroyed in use");
        auto const settles = verdict_.law("what is left can be settled and read");
        auto faults = options_.calm ? std::vector<Fault>{} : all_faults();
        clients_->start(static_cast<std::size_t>(options_.workers));
        auto const end = now() + options_.seconds;
        auto const latest = end + 3 * options_.seconds;  // on a slow machine
        std::size_t rounds = 0;
        interlock::Progress progress{
            std::cerr, "torture of " + options_.store, static_cast<std::uint64_t>(options_.seconds), "s"};
        auto const begun = now();
        progressing_ = [&] { progress.show(static_cast<std::uint64_t>(now() - begun)); };
        // Each kind of fault is due twice.
        while (now() < end || (!faults.empty() && rounds < 2 && now() < latest)) {
            if (faults.empty())
                pause(500);
            else
                strike_all(faults, alive, latest);
            ++rounds;
            clients_->look_after(alive);
        }
        // A kind that has found nobody at work, as on a machine where little is under way at a time, is due
        // again.
        auto const last = latest + options_.seconds;
        for (int again = 0; again < 20 && !faults.empty() && now() < last; ++again) {
            std::erase_if(faults, [&](Fault const& fault) { return !found_nobody(fault.name); });
            strike_all(faults, alive, last);
        }
        clients_->stop(alive, orderly);
        if (server_) {
            server_->forget_clients();
            settles.expect(
                clients_->settle(server_->url()) == 0, "the process that settles failed, see stderr");
        }
        progress.hide();
        if (timeline_)
            timeline_->write();
        return judge();
    }

private:
    std::vector<Fault> all_faults()
    {
        auto faults = clients_->faults();
        auto const add = [&](std::vector<Fault> more) {
            std::move(more.begin(), more.end(), std::back_inserter(faults));
        };
        if (server_) {
            add(network_faults(*proxy_, dice_));
            add(server_->faults(*proxy_, dice_));
        } else {
            faults.erase(faults.begin());  // who kills the client kills the store
        }
        return faults;
    }

    void pause(std::uint64_t most_ms)
    {
        dice_.pause(most_ms);
        progressing_();
    }

    bool found_nobody(std::string const& fault)
    {
        if (fault == "SIGKILL of a client" || fault == "SIGSTOP of a client")
            return false;  // counted when the journals are read
        for (std::size_t i = 0; proxy_ && i < LossyProxy::losses; ++i)
            if (fault == LossyProxy::loss_names[i])
                return proxy_->lost(i) == 0;
        return struck_[fault].hit == 0;
    }

    /// Each kind once, in an order of its own.
    void strike_all(std::vector<Fault> const& faults, Verdict::Law const& alive, double latest)
    {
        std::vector<std::size_t> order(faults.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        for (std::size_t i = order.size(); i > 1; --i)
            std::swap(order[i - 1], order[dice_.below(i)]);
        for (auto const i : order) {
            pause(400);
            auto& struck = struck_[faults[i].name];
            ++struck.times;
            try {
                struck.hit +=
                    timeline_ ? timeline_->draw(faults[i].name, faults[i].strike) : faults[i].strike();
            } catch (std::exception const& e) {  // of what was struck before: it hits nobody
                fmt::print(stderr, "{}: {}\n", faults[i].name, e.what());
            }
            clients_->look_after(alive);
            if (now() > latest)
                return;
        }
    }

    bool judge()
    {
        History history;
        for (auto const& journal : clients_->journals())
            history.read(journal);
        for (auto const journal : clients_->killed())
            struck_["SIGKILL of a client"].hit += calls_across(history, journal, never, never);
        for (auto const& pause : clients_->pauses())
            struck_["SIGSTOP of a client"].hit += calls_across(history, pause.journal, pause.from, pause.to);
        if (proxy_ && !options_.calm)
            for (std::size_t i = 0; i < LossyProxy::losses; ++i)
                struck_[LossyProxy::loss_names[i]] = {proxy_->lost(i), proxy_->lost(i)};

        fmt::print("\n{:<48}{:>8}{:>10}\n", "faults", "times", "hit");
        auto const bit = verdict_.law("each kind of fault hit somebody");
        for (auto const& [name, struck] : struck_) {
            fmt::print("{:<48}{:>8}{:>10}\n", name, struck.times, struck.hit);
            bit.expect(struck.hit > 0, name);
        }
        print_calls(history);
        auto const seconds = static_cast<std::size_t>(options_.seconds);
        bool const doubts = server_ && !options_.calm;
        auto const promises =
            options_.variant == "failover" ? Promises::after_a_lossy_failover : Promises::all;
        check(history, promises, {.effects = 5 * seconds, .unknown = doubts ? 1U : 0U}, verdict_);
        bool const good = verdict_.print();
        if (good && !options_.keep)
            std::filesystem::remove_all(directory_);
        else
            fmt::print("journals: {}\n", directory_);
        return good;
    }

    Options options_;
    std::string directory_;
    Dice dice_;
    std::unique_ptr<TorturedServer> server_;
    std::unique_ptr<LossyProxy> proxy_;
    std::unique_ptr<Timeline> timeline_;
    std::unique_ptr<Clients> clients_;
    Verdict verdict_;
    std::map<std::string, Struck> struck_;
    std::function<void()> progressing_;
};

int be_worker(std::vector<std::string> const& words)
{
    WorkerOptions options;
    std::string store;
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
        auto const& name = words[i];
        auto const& value = words[i + 1];
        if (name == "--store")
            store = value;
        else if (name == "--url")
            options.url = value;
        else if (name == "--variant")
            options.variant = value;
        else if (name == "--journal")
            options.journal = value;
        else if (name == "--name")
            options.name = value;
        else if (name == "--seed")
            options.seed = number<std::uint64_t>(name, value);
        else if (name == "--threads")
            options.threads = number<int>(name, value);
        else if (name == "--timeline")
            options.timeline = value;
        else if (name == "--number")
            options.number = number<int>(name, value);
        else if (name == "--settle")
            options.settle.push_back(value);
    }
    return store_named(store).work(options);
}

Options parse(std::vector<std::string> const& words)
{
    Options options;
    for (std::size_t i = 0; i < words.size(); ++i) {
        auto const& name = words[i];
        if (name == "--calm" || name == "--keep") {
            (name == "--calm" ? options.calm : options.keep) = true;
            continue;
        }
        if (i + 1 == words.size())
            throw std::invalid_argument("unknown, or without a value: " + name);
        auto const& value = words[++i];
        if (name == "--store")
            options.store = value;
        else if (name == "--variant")
            options.variant = value;
        else if (name == "--seconds")
            options.seconds = number<int>(name, value);
        else if (name == "--seed")
            options.seed = number<std::uint64_t>(name, value);
        else if (name == "--workers")
            options.workers = number<int>(name, value);
        else if (name == "--threads")
            options.threads = number<int>(name, value);
        else if (name == "--timeline")
            options.timeline = value;
        else
            throw std::invalid_argument("unknown: " + name);
    }
    auto const& store = store_named(options.store);
    bool const one_process = !store.make_server;
    if (options.variant.empty())
        options.variant = store.default_variant;
    if (options.seed == 0)
        options.seed =
            static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) %
            1'000'000'000;
    if (options.workers == 0 || one_process)
        options.workers = one_process ? 1 : 3;
    if (options.threads == 0)
        options.threads = one_process ? 8 : 4;
    return options;
}

}  // namespace

}  // namespace torture

int main(int argc, char** argv)
{
    using namespace torture;
    std::vector<std::string> words(argv + 1, argv + argc);
    try {
        if (!words.empty() && words[0] == "worker")
            return be_worker({words.begin() + 1, words.end()});
        if (words.empty() || words[0] == "--help") {
            fmt::print("{}", whole_usage());
            return words.empty() ? 2 : 0;
        }
        auto const options = parse(words);
        fmt::print(
            "store {}, variant {}, seed {}, {} s\n", options.store, options.variant, options.seed,
            options.seconds);
        std::fflush(stdout);
        return Run{options}.go() ? 0 : 1;
    } catch (std::invalid_argument const& e) {
        fmt::print(stderr, "{}\n{}", e.what(), whole_usage());
        return 2;
    } catch (std::exception const& e) {
        fmt::print(stderr, "interlock_torture: {}\n", e.what());
        return 1;
    }
}
