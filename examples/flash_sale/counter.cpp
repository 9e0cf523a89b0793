// SPDX-License-Identifier: BSL-1.0

#include "counter.hpp"

#include <interlock/core/format.hpp>
#include <interlock/interlock.hpp>
#include <interlock/observability/observers.hpp>
#include <interlock/observability/timeline.hpp>

#include "processes.hpp"
#include "report.hpp"
#include "unguarded.hpp"
#ifdef FLASH_SALE_POSTGRES
#include <interlock/backends/postgres/backend.hpp>
#endif
#ifdef FLASH_SALE_REDIS
#include <interlock/backends/redis/backend.hpp>
#endif
#ifdef FLASH_SALE_REDIS_TLS
#include <interlock/backends/redis/tls.hpp>
#endif

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace flash_sale {

namespace {

namespace asio = boost::asio;
namespace il = interlock;

// ---- the store: chosen at run time. Another backend is another object in these two calls. -------

auto const backends = std::tuple_cat(
    std::tuple{il::memory::backend}
#ifdef FLASH_SALE_REDIS_TLS
    ,
    std::tuple{il::redis::backend, il::redis::TlsBackend{}, il::redis::unix_backend}
#elif defined FLASH_SALE_REDIS
    ,
    std::tuple{il::redis::backend, il::redis::tls_backend, il::redis::unix_backend}
#endif
#ifdef FLASH_SALE_POSTGRES
    ,
    std::tuple{il::postgres::backend, il::postgres::short_backend}
#endif
);

il::StateRepository<Stock> open_store(std::string const& url)
{
    return std::apply([&](auto const&... backend) { return il::open<Stock>(url, backend...); }, backends);
}

il::AnyIdempotencyStore open_keys(std::string const& url)
{
    return std::apply(
        [&](auto const&... backend) { return il::open_idempotency_store(url, backend...); }, backends);
}

/// Where one sale takes place. Each opens a shop of its own in a store that outlives it, unless the URL names
/// one, and makes its tables where there are tables.
std::string place_of_sale(std::string const& url, Policy policy)
{
    if (!outlives_the_program(url))
        return url;
    auto place = url;
    if (url.find("name_space=") == std::string::npos)
        place = fmt::format(
            "{}{}name_space=sale_{:08x}_{}", url, url.find('?') == std::string::npos ? '?' : '&',
            il::SystemRuntime::random_bits() >> 32, name_of(policy));
#ifdef FLASH_SALE_POSTGRES
    if (place.starts_with("postgres"))
        il::postgres::create_schema(il::postgres::Pool{place}).value();
#endif
    return place;
}

// ---- the three ways an order reaches a service --------------------------------------------------

il::CallOptions const patience{.deadline = std::chrono::seconds{30}};

/// So long the others wait for what a process held that was killed.
constexpr std::chrono::seconds lease{2};

/// Under its id: whoever comes with the same id again gets the first answer. Policy and store are run-time
/// choices.
struct UnderItsId {
    il::TransactionService<Stock> service;

    template <class Operation>
    il::Outcome<Sale> sell(Order const& order, Operation& operation) const
    {
        return service.try_do_in_transaction(il::OperationId{order.order_id}, order.sku, operation, patience);
    }
    template <class Operation>
    asio::awaitable<il::Outcome<Sale>> async_sell(Order const& order, Operation& operation) const
    {
        return service.async_try_do_in_transaction(
            il::OperationId{order.order_id}, order.sku, operation, patience, asio::use_awaitable);
    }
};

/// As an idempotent request, with what it asks for as its fingerprint.
struct AsARequest {
    using Policy = il::IdempotencyKeys<il::AnyPolicy, il::AnyIdempotencyStore>;
    il::TransactionService<Stock, Policy> service;

    static il::IdempotentRequest request(Order const& order)
    {
        auto const body = fmt::format("{}\n{}\n{}", order.customer, order.sku, order.quantity);
        return {order.order_id, il::Scope("flash sale"), il::fingerprint(body)};
    }
    template <class Operation>
    il::Outcome<il::Answer<Sale>> sell(Order const& order, Operation& operation) const
    {
        return service.try_do_in_transaction(request(order), order.sku, operation, patience);
    }
    template <class Operation>
    asio::awaitable<il::Outcome<il::Answer<Sale>>> async_sell(Order const& order, Operation& operation) const
    {
        return service.async_try_do_in_transaction(
            request(order), order.sku, operation, patience, asio::use_awaitable);
    }
};

/// Without a name: a repeated request is one more order.
struct Nameless {
    il::TransactionService<Stock, Unguarded> service;

    template <class Operation>
    il::Outcome<Sale> sell(Order const& order, Operation& operation) const
    {
        return service.try_do_in_transaction(order.sku, operation, patience);
    }
    template <class Operation>
    asio::awaitable<il::Outcome<Sale>> async_sell(Order const& order, Operation& operation) const
    {
        return service.async_try_do_in_transaction(order.sku, operation, patience, asio::use_awaitable);
    }
};

// ---- one order ----------------------------------------------------------------------------------

Reply reply(il::Outcome<Sale> outcome)
{
    if (outcome)
        return {Reply::Kind::answered, outcome.replayed(), *std::move(outcome), {}};
    auto const kind = outcome.effect() == il::Effect::unknown ? Reply::Kind::unknown : Reply::Kind::failed;
    return {kind, false, {}, fmt::format("{}", outcome.failure())};
}

Reply reply(il::Outcome<il::Answer<Sale>> outcome)
{
    if (!outcome)
        return reply(il::Outcome<Sale>{std::move(outcome).failure()});
    return {Reply::Kind::answered, outcome->replayed(), std::move(*outcome).value(), {}};
}

/// Asking again is safe after every failure, "unknown" included, because it is done under the same id.
/// Without an id it is not.
template <class Way>
constexpr int asks = std::is_same_v<Way, Nameless> ? 1 : 5;

template <class Way>
Reply place(Way const& way, Order const& order)
{
    auto operation = [&order](Stock& stock) { return sell(stock, order); };
    Reply last;
    for (int i = 0; i < asks<Way> && last.kind != Reply::Kind::answered; ++i)
        last = reply(way.sell(order, operation));
    return last;
}

template <class Way>
asio::awaitable<Reply> async_place(Way const& way, Order const& order)
{
    auto operation = [&order](Stock& stock) { return sell(stock, order); };
    Reply last;
    for (int i = 0; i < asks<Way> && last.kind != Reply::Kind::answered; ++i)
        last = reply(co_await way.async_sell(order, operation));
    co_return last;
}

// ---- all orders ---------------------------------------------------------------------------------

/// Where the replies go; called by all workers.
using Answered = std::function<void(std::size_t row, Reply reply)>;

/// The orders in the order in which they arrive, whichever worker is free.
class Queue {
public:
    Queue(Input const& input, Share share, Answered const& answered)
        : input_(input), answered_(answered), step_(share.of), next_(share.number)
    {}

    /// The next row, or the number of rows.
    std::size_t next() { return std::min(next_.fetch_add(step_), input_.orders.size()); }
    bool over(std::size_t row) const { return row == input_.orders.size(); }
    Order const& order(std::size_t row) const { return input_.orders[row]; }

    void answer(std::size_t row, Reply reply, std::chrono::steady_clock::time_point since)
    {
        reply.nanoseconds = std::chrono::nanoseconds{std::chrono::steady_clock::now() - since}.count();
        answered_(row, std::move(reply));
    }

private:
    Input const& input_;
    Answered const& answered_;
    std::size_t step_;
    std::atomic<std::size_t> next_;
};

template <class Way>
void work(Way const& way, Queue& queue)
{
    for (auto row = queue.next(); !queue.over(row); row = queue.next()) {
        auto const start = std::chrono::steady_clock::now();
        queue.answer(row, place(way, queue.order(row)), start);
    }
}

template <class Way>
asio::awaitable<void> async_work(Way const& way, Queue& queue)
{
    for (auto row = queue.next(); !queue.over(row); row = queue.next()) {
        auto const start = std::chrono::steady_clock::now();
        auto reply = co_await async_place(way, queue.order(row));
        queue.answer(row, std::move(reply), start);
    }
}

template <class Way>
void let_workers_sell(Way const& way, Queue& queue, Options const& options)
{
    std::vector<std::future<void>> workers;
    if (options.async) {
        auto const cores = std::max<std::size_t>(2, std::thread::hardware_concurrency());
        asio::thread_pool pool(std::min(options.workers, cores));
        for (std::size_t i = 0; i < options.workers; ++i)
            workers.push_back(asio::co_spawn(pool, async_work(way, queue), asio::use_future));
        pool.join();
    } else {
        for (std::size_t i = 0; i < options.workers; ++i)
            workers.push_back(std::async(std::launch::async, [&] { work(way, queue); }));
    }
    for (auto& worker : workers)
        worker.get();  // rethrows what a worker threw
}

/// Counts what the services report.
class Meter final : public il::Observer {
public:
    void on_conflict(il::RetryEvent const& event) noexcept override
    {
        conflicts.fetch_add(1, std::memory_order_relaxed);
        Observer::on_conflict(event);  // one that is repeated is a retry, too
    }
    void on_retry(il::RetryEvent const&) noexcept override
    {
        retries.fetch_add(1, std::memory_order_relaxed);
    }

    std::atomic<std::uint64_t> conflicts{0};
    std::atomic<std::uint64_t> retries{0};
};

/// A meter, and, where the user wants one, a timeline.
class Watchers {
public:
    Watchers(Options const& options, Share share)
    {
        std::vector<il::Observer*> all{&meter};
        if (options.timeline) {
            il::TimelineOptions drawn;
            drawn.process = static_cast<int>(share.number) + 1;
            drawn.process_name = fmt::format("process {}", drawn.process);
            all.push_back(&timeline_.emplace(drawn));
        }
        observers_.emplace(std::move(all));
    }
    il::Observer& observer() noexcept { return timeline_ ? static_cast<il::Observer&>(*observers_) : meter; }
    il::TimelineObserver* timeline() noexcept { return timeline_ ? &*timeline_ : nullptr; }

    Meter meter;

private:
    std::optional<il::TimelineObserver> timeline_;
    std::optional<il::Observers> observers_;
};

/// Where processes leave their parts of the timeline for the one that started them; each has its own.
std::string parts_of_timeline(std::string const& path, Policy policy)
{
    return fmt::format("{}.{}-", path, name_of(policy));
}

/// Writes what a process has drawn while it draws: it may be killed, and another one goes on.
class TimelineWriter {
public:
    TimelineWriter(il::TimelineObserver& timeline, std::string const& path)
        : timeline_(timeline), file_(path, std::ios::binary | std::ios::app),
          thread_([this](std::stop_token const& end) {
              while (!end.stop_requested()) {
                  std::this_thread::sleep_for(std::chrono::milliseconds{100});
                  write();
              }
          })
    {}
    TimelineWriter(TimelineWriter const&) = delete;
    TimelineWriter& operator=(TimelineWriter const&) = delete;
    ~TimelineWriter()
    {
        thread_.request_stop();
        thread_.join();
        write();
    }

private:
    void write() { file_ << timeline_.take() << std::flush; }

    il::TimelineObserver& timeline_;
    std::ofstream file_;
    std::jthread thread_;  // goes first
};

/// Takes the parts away, and makes one timeline of them.
std::string joined_timeline(std::string const& path, Policy policy)
{
    auto const start = parts_of_timeline(path, policy);
    auto const folder = std::filesystem::path(start).parent_path();
    std::vector<std::string> parts;
    for (auto const& entry : std::filesystem::directory_iterator(folder.empty() ? "." : folder)) {
        auto const part = (folder / entry.path().filename()).string();
        if (!part.starts_with(start))
            continue;
        std::ifstream file(part, std::ios::binary);
        parts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>{});
        std::filesystem::remove(part);
    }
    return il::TimelineObserver::joined(parts);
}

/// Sells the orders of one share.
void sell_share(
    Policy policy, std::string const& url, il::StateRepository<Stock> const& store, Queue& queue,
    il::Observer& observer, Options const& options)
{
    auto const sell_by = [&](auto const& way) { let_workers_sell(way, queue, options); };
    il::ServiceOptions const watched{.observer = &observer};
    il::SetNxLock const lock{.lock = {.ttl = lease}};
    switch (policy) {
    case Policy::unguarded: sell_by(Nameless{{Unguarded{}, store, watched}}); break;
    case Policy::optimistic: sell_by(UnderItsId{{il::OptimisticVersioning{}, store, watched}}); break;
    case Policy::pessimistic: sell_by(UnderItsId{{il::PessimisticRowLock{}, store, watched}}); break;
    case Policy::lock: sell_by(UnderItsId{{lock, store, watched}}); break;
    case Policy::idempotent: {
        // A repeated request that comes while the first is served waits for its answer.
        il::IdempotencyOptions const wait{.lease = lease, .duplicates = il::Duplicates::wait};
        auto const inner = has_row_locks(options.backend) ? il::AnyPolicy{il::PessimisticRowLock{}} : lock;
        AsARequest::Policy const keys{inner, open_keys(url), wait};
        sell_by(AsARequest{{keys, store, watched}});
        break;
    }
    }
}

/// Answers that the store keeps with the sales they belong to: the ledger is not written, it is read back.
std::vector<Record> read_records(il::StateRepository<Stock> const& store)
{
    std::vector<Record> records;
    store
        .for_each_operation([&](il::Key const&, il::OperationId const&, il::OperationRecord const& record) {
            auto sale = il::StateTraits<Sale>::decode(record.answer);
            if (!sale)
                throw il::Error(il::Errc::corrupt_state, "an operation record of the store is no sale");
            records.push_back({record.sequence, *std::move(sale)});
        })
        .value();
    std::sort(
        records.begin(), records.end(), [](auto const& a, auto const& b) { return a.sequence < b.sequence; });
    return records;
}

}  // namespace

Result hold_sale(Policy policy, Input const& input, Options const& options, Answering const& answering)
{
    auto const url = place_of_sale(options.backend, policy);
    auto const store = open_store(url);
    for (auto const& stock : input.stock)
        if (auto inserted = store.insert(stock); !inserted)
            throw il::Error(
                inserted.errc(), fmt::format("storing the stock of '{}': {}", stock.sku, inserted.detail()));

    Result result;
    result.policy = policy;
    // Until somebody tells.
    result.replies.assign(input.orders.size(), {Reply::Kind::unknown, false, {}, {}});
    Answered const answered = [&](std::size_t row, Reply reply) {
        auto& kept = result.replies.at(row);
        if (kept.kind == Reply::Kind::answered)
            return;  // the one who told it was lost, and his successor asked again
        kept = std::move(reply);
        answering();
    };
    auto const start = std::chrono::steady_clock::now();
    if (options.processes > 1) {
        if (options.timeline)
            joined_timeline(*options.timeline, policy);  // of a run that was interrupted
        auto const end = let_processes_sell(
            policy, url, options, [&](Message message) { answered(message.row, std::move(message.reply)); });
        result.conflicts = end.conflicts;
        result.retries = end.retries;
        result.processes_lost = end.lost;
        if (options.timeline)
            result.timeline = joined_timeline(*options.timeline, policy);
    } else {
        Watchers watchers(options, Share{});
        Queue queue(input, Share{}, answered);
        sell_share(policy, url, store, queue, watchers.observer(), options);
        result.conflicts = watchers.meter.conflicts;
        result.retries = watchers.meter.retries;
        if (auto const* const timeline = watchers.timeline())
            result.timeline = timeline->json();
    }
    result.seconds = std::chrono::steady_clock::now() - start;

    result.records = read_records(store);
    for (auto const& stock : input.stock)
        result.final_stock.push_back(store.load(stock.sku).value().value);
    return result;
}

void serve_share(Input const& input, Options const& options)
{
    auto const store = open_store(options.backend);
    auto const policy = options.policies.front();
    Watchers watchers(options, options.share.value());
    Answered const tell = [&](std::size_t row, Reply reply) {
        tell_parent({row, std::move(reply), watchers.meter.conflicts, watchers.meter.retries});
    };
    Queue queue(input, options.share.value(), tell);
    std::optional<TimelineWriter> writer;
    if (auto* const timeline = watchers.timeline())
        writer.emplace(*timeline, parts_of_timeline(*options.timeline, policy) + std::to_string(::getpid()));
    wait_for_start();
    sell_share(policy, options.backend, store, queue, watchers.observer(), options);
}

}  // namespace flash_sale
