// SPDX-License-Identifier: BSL-1.0

// Whether a reader of a log in PostgreSQL misses an event, or gets two in the wrong order, while many
// processes append in every way, roll back, prepare transactions, and are killed, and the server is killed,
// too. See `--help`.

#include <interlock/backends/postgres/event_repository.hpp>
#include <interlock/backends/postgres/state_repository.hpp>
#include <interlock/interlock.hpp>

#include <boost/describe/class.hpp>
#include <fmt/format.h>

#include "support/child_process.hpp"
#include "support/postgres_appender.hpp"
#include "support/postgres_server.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace gaps {
namespace {

namespace il = interlock;
namespace pg = interlock::postgres;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::string_view usage = R"(usage: interlock_gaps_postgres [--seconds S | --events N] [--seed N]
                              [--calm]

  --seconds   how long (default: 20), or until a reader has noticed something
  --events    instead of that: until so many events are stored
  --seed      of the faults and of each client's choices (default: from the clock)
  --calm      nobody is killed
)";

struct Options {
    int seconds{20};
    long events{0};
    std::uint64_t seed{0};
    bool calm{false};
};

struct Stock {
    std::string sku;
    int quantity{0};
};
BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))

struct Sold {
    int left{0};
    static constexpr il::EventType event{"stock.sold", 1};
};
BOOST_DESCRIBE_STRUCT(Sold, (), (left))

constexpr int clients = 4;
constexpr int threads = 4;  // of each
constexpr int streams = 40;

/// Now and then everybody is still for a moment, but one: what he does is what is seen then, and no later
/// transaction ends meanwhile.
bool is_lull()
{
    return Clock::now().time_since_epoch() % 500ms < 120ms;
}

// ---- a client: four writers ---------------------------------------------------------------------

class Writer {
public:
    Writer(
        pg::Pool const& pool, pg::EventRepository const& events, std::string const& url, std::uint64_t seed,
        bool uses_lulls)
        : events_(events), log_(nullptr, pool.options().name_space, {}), url_(url), random_(seed),
          uses_lulls_(uses_lulls),
          locking_(il::PessimisticRowLock{.missing = il::Missing::create}, states(pool)),
          versioning_(il::OptimisticVersioning{.missing = il::Missing::create}, states(pool))
    {}

    [[noreturn]] void run()
    {
        for (;;) {
            try {
                auto const what = below(10);
                if (is_lull() && uses_lulls_)
                    overtake();
                else if (is_lull())
                    std::this_thread::sleep_for(5ms);
                else if (what < 3)
                    append();
                else if (what < 6)
                    sell();
                else
                    by_hand();
            } catch (std::exception const&) {  // the server is away, or the transaction was refused
                std::this_thread::sleep_for(1ms);
            }
        }
    }

private:
    pg::StateRepository<Stock> states(pg::Pool const& pool) const
    {
        return pg::StateRepository<Stock>{pool, {.events = events_}};
    }
    unsigned below(unsigned end) { return static_cast<unsigned>(random_() % end); }
    std::string stream() { return "s" + std::to_string(below(streams)); }

    void append()
    {
        std::vector<il::NewEvent> some;
        for (auto n = 1 + below(below(20) == 0 ? 100 : 3); n > 0; --n)
            some.push_back(il::new_event(Sold{static_cast<int>(n)}));
        static_cast<void>(events_.append(il::Key{stream()}, il::Expected::any(), some, 5s));
    }
    void sell()
    {
        auto const change = [this](Stock& s, il::Recorder& record) {
            record(Sold{--s.quantity});
            if (below(20) == 0)
                throw std::runtime_error("changed my mind");
        };
        if (below(2) == 0)
            locking_.do_in_transaction(stream(), change);
        else
            versioning_.do_in_transaction(stream(), change);
    }
    /// The younger of two transactions draws a position before the older one does, and ends after it, perhaps
    /// prepared: to a snapshot that is taken in between it has not begun yet.
    void overtake()
    {
        try {
            for (auto* const session : {&older_, &younger_})
                if (!*session)
                    session->emplace(url_, log_);
            // Streams of their own: neither waits for the other.
            append_by_hand(*older_, "older");
            append_by_hand(*younger_, "younger");
            append_by_hand(*older_, "older");
            older_->run("COMMIT");
            // A reader that is quick sees it in a moment; on a busy machine none is.
            auto const most = below(3) == 0 ? 100U : 15U;
            std::this_thread::sleep_for(std::chrono::milliseconds{below(most)});
            if (below(2) == 0) {
                younger_->run("COMMIT");
                return;
            }
            auto const name = "'" + std::to_string(random_()) + "'";
            younger_->run("PREPARE TRANSACTION " + name);
            std::this_thread::sleep_for(std::chrono::milliseconds{below(most)});
            younger_->run("COMMIT PREPARED " + name);
        } catch (std::exception const&) {
            older_.reset();
            younger_.reset();
            throw;
        }
    }
    void append_by_hand(interlock_test::PostgresAppender& session, std::string const& kind)
    {
        session.append(kind + std::to_string(random_() % 1000), std::to_string(random_()) + "-hand");
    }
    /// A transaction of a session of its own, whose end is long in coming now and then.
    void by_hand()
    {
        if (!session_)
            session_.emplace(url_, log_);
        try {
            for (auto n = 1 + below(3); n > 0; --n)
                append_by_hand(*session_, "hand");
            auto const end = below(100);
            // One that is prepared late, and whose end is late again, is known to readers as two things.
            bool const prepares = end >= 75;
            bool const waits = below(prepares ? 4 : 25) == 0;
            auto const wait = [&](unsigned most) {
                if (waits)
                    std::this_thread::sleep_for(std::chrono::milliseconds{below(most)});
            };
            wait(prepares ? 40 : 100);
            if (end < 60)
                session_->run("COMMIT");
            else if (!prepares)
                session_->run("ROLLBACK");
            else {
                auto const name = "'" + std::to_string(random_()) + "'";
                session_->run("PREPARE TRANSACTION " + name);
                wait(80);
                session_->run((end < 95 ? "COMMIT PREPARED " : "ROLLBACK PREPARED ") + name);
            }
        } catch (std::exception const&) {
            session_.reset();
            throw;
        }
    }

    pg::EventRepository events_;
    pg::detail::EventTable log_;
    std::string url_;
    std::mt19937_64 random_;
    bool uses_lulls_;
    std::optional<interlock_test::PostgresAppender> session_;
    std::optional<interlock_test::PostgresAppender> older_;
    std::optional<interlock_test::PostgresAppender> younger_;
    il::TransactionService<Stock, il::PessimisticRowLock, pg::StateRepository<Stock>> locking_;
    il::TransactionService<Stock, il::OptimisticVersioning, pg::StateRepository<Stock>> versioning_;
};

/// `nth`: of all clients. One writer of the first one uses the lulls.
[[noreturn]] void run_client(std::string const& url, std::uint64_t seed, int nth)
{
    pg::Pool const pool{url};
    pg::EventRepository const events{pool};
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i)
        all.emplace_back([&, i] {
            Writer{pool, events, url, seed * threads + static_cast<unsigned>(i), nth + i == 0}.run();
        });
    for (auto& thread : all)
        thread.join();
    std::abort();  // they never end
}

// ---- the reader ---------------------------------------------------------------------------------

struct Read {
    il::Position position;
    std::int64_t number;
    std::string stream;
};

class Reader {
public:
    explicit Reader(std::string const& url) : events_(pg::Pool{url}) {}

    /// Reads on; how many it got.
    std::size_t read()
    {
        auto const page = events_.read(0, place_, 500, 5s);
        if (page.errc() == il::Errc::corrupt_state || page.errc() == il::Errc::misconfigured)
            wrong_.push_back(page.message());
        if (!page)
            return 0;
        for (auto const& event : page->events) {
            std::string const stream{event.stream.bytes()};
            auto& last = numbers_[stream];
            if (event.number != last + 1 && wrong_.size() < 20)
                wrong_.push_back(fmt::format("{}: number {} comes behind {}", stream, event.number, last));
            reordered += event.number < last ? 1 : 0;
            last = std::max(last, event.number);
            if (!got.empty() && event.position <= got.back())
                notices_ = true;
            got.push_back(event.position);
        }
        if (!wrong_.empty())
            notices_ = true;
        count_ = static_cast<long>(got.size());
        place_ = page->next;
        return page->events.size();
    }
    std::vector<std::string> const& wrong() const noexcept { return wrong_; }
    /// From another thread: how many it got, and whether something is wrong with them.
    long count() const noexcept { return count_; }
    bool notices() const noexcept { return notices_; }

    std::vector<il::Position> got;
    std::size_t reordered{0};

private:
    pg::EventRepository events_;
    il::Position place_{0};
    std::map<std::string, std::int64_t> numbers_;
    std::vector<std::string> wrong_;
    std::atomic<long> count_{0};
    std::atomic<bool> notices_{false};
};

// ---- the run ------------------------------------------------------------------------------------

class Run {
public:
    explicit Run(Options const& options)
        : options_(options), random_(options.seed), server_({"max_prepared_transactions=64"}),
          url_(server_.url()), clients_(clients)
    {
        pg::Pool const pool{url_};
        pg::create_schema(pool).value();
        pg::EventRepository{pool}.create_schema().value();
        // Some events take their time to be stored: then a position is known to be drawn for longer.
        server_.command(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF random() < 0.002 THEN PERFORM pg_sleep(random() * 0.02); END IF; RETURN new; END $$");
        server_.command(
            "CREATE TRIGGER dawdle BEFORE INSERT ON interlock_event FOR EACH ROW EXECUTE FUNCTION dawdle()");
    }

    /// Whether nothing was lost, doubled or reordered.
    bool go()
    {
        for (auto& client : clients_)
            start(client);
        std::deque<Reader> readers;
        for (int i = 0; i < 2; ++i)
            readers.emplace_back(url_);
        std::atomic<bool> ending{false};
        std::vector<std::thread> reading;
        for (auto& reader : readers)
            reading.emplace_back([&] {
                while (!ending)
                    if (reader.read() == 0)
                        std::this_thread::sleep_for(2ms);
            });
        hurt(readers);
        for (auto& client : clients_)
            client.end(SIGKILL);
        end_prepared("interval '0'");
        open_another();
        auto const soon = Clock::now() + (noticed(readers) ? 0s : 15s);
        auto const stored = server_.command("SELECT count(*) FROM interlock_event");
        std::this_thread::sleep_for(200ms);
        ending = true;
        for (auto& thread : reading)
            thread.join();
        for (auto& reader : readers)
            while (reader.got.size() < std::stoul(stored) && Clock::now() < soon)
                if (reader.read() == 0)
                    std::this_thread::sleep_for(2ms);
        bool good = true;
        for (auto const& reader : readers)
            good = judge(reader) && good;
        return good;
    }

private:
    void start(interlock_test::ChildProcess& client)
    {
        client.start(
            {"/proc/self/exe", "--client", url_, std::to_string(random_() % 1'000'000),
             std::to_string(&client - clients_.data())},
            SIGKILL, [] {});
    }
    /// Those that a dead client has left.
    void end_prepared(std::string const& age)
    {
        for (;;) {
            auto const name = server_.command(
                "SELECT coalesce(min(gid), '') FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - " +
                age);
            if (name.empty())
                return;
            try {
                server_.command(
                    (random_() % 3 == 0 ? "ROLLBACK PREPARED '" : "COMMIT PREPARED '") + name + "'");
            } catch (std::exception const&) {  // its client has
            }
        }
    }
    /// A transaction that writes, appends nothing, and stays open: readers do not wait for it.
    void open_another()
    {
        if (another_)
            return;
        another_.emplace(server_.url(), log_);
        another_->run("BEGIN");
        another_->run("SELECT pg_current_xact_id()");
    }
    static bool noticed(std::deque<Reader> const& readers)
    {
        return std::any_of(readers.begin(), readers.end(), [](auto const& r) { return r.notices(); });
    }
    void hurt(std::deque<Reader> const& readers)
    {
        auto const end = Clock::now() + std::chrono::seconds{options_.seconds};
        auto next_client = Clock::now() + 500ms;
        auto next_server = Clock::now() + 6s;
        auto const goes_on = [&] {
            if (noticed(readers))
                return false;
            return options_.events > 0 ? readers.front().count() < options_.events : Clock::now() < end;
        };
        while (goes_on()) {
            std::this_thread::sleep_for(50ms);
            try {
                if (Clock::now().time_since_epoch() % 4s < 2s)
                    open_another();
                else
                    another_.reset();
                if (options_.calm)
                    continue;
                if (Clock::now() >= next_client) {
                    next_client += std::chrono::milliseconds{200 + random_() % 1000};
                    auto& client = clients_[random_() % clients_.size()];
                    client.end(SIGKILL);
                    start(client);
                }
                if (Clock::now() >= next_server) {
                    next_server += std::chrono::seconds{5 + random_() % 10};
                    server_.restart_immediately();
                    another_.reset();
                    ++crashes_;
                }
                end_prepared("interval '300 milliseconds'");
            } catch (std::exception const& error) {
                fmt::print("{}\n", error.what());
                another_.reset();
            }
        }
    }
    bool judge(Reader const& reader) const
    {
        auto got = reader.got;
        bool const ordered = std::is_sorted(got.begin(), got.end());
        bool const once = std::adjacent_find(got.begin(), got.end()) == got.end();
        auto const stored = std::stoul(server_.command("SELECT count(*) FROM interlock_event"));
        auto const holes = server_.command("SELECT max(position) - count(*) FROM interlock_event");
        for (auto const& wrong : reader.wrong())
            fmt::print("  {}\n", wrong);
        fmt::print(
            "stored {}, read {}, lost {}, reordered {}, holes {}, crashes of the server {}, seed {}\n",
            stored, got.size(), static_cast<long>(stored) - static_cast<long>(got.size()), reader.reordered,
            holes, crashes_, options_.seed);
        return ordered && once && reader.wrong().empty() && stored == got.size() && stored > 0;
    }

    Options options_;
    std::mt19937_64 random_;
    interlock_test::PostgresServer server_;
    std::string url_;
    std::vector<interlock_test::ChildProcess> clients_;
    pg::detail::EventTable log_{nullptr, "interlock", {}};
    std::optional<interlock_test::PostgresAppender> another_;
    int crashes_{0};
};

Options parse(std::vector<std::string> const& words)
{
    Options options;
    options.seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) %
                   1'000'000'000;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "--calm") {
            options.calm = true;
            continue;
        }
        if (i + 1 == words.size())
            throw std::invalid_argument(std::string(usage));
        auto const number = std::stol(words[i + 1]);
        if (words[i] == "--seconds")
            options.seconds = static_cast<int>(number);
        else if (words[i] == "--events")
            options.events = number;
        else if (words[i] == "--seed")
            options.seed = static_cast<std::uint64_t>(number);
        else
            throw std::invalid_argument(std::string(usage));
        ++i;
    }
    return options;
}

}  // namespace
}  // namespace gaps

int main(int argc, char** argv)
{
    std::vector<std::string> const words(argv + 1, argv + argc);
    try {
        if (words.size() == 4 && words[0] == "--client")
            gaps::run_client(words[1], std::stoul(words[2]), std::stoi(words[3]));
        return gaps::Run{gaps::parse(words)}.go() ? 0 : 1;
    } catch (std::exception const& error) {
        fmt::print("{}\n", error.what());
        return 2;
    }
}
