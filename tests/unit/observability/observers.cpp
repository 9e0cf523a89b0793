// SPDX-License-Identifier: BSL-1.0

// Several observers in the place of one, and a repository that tells of each call of its store.

#include <interlock/backends/memory/state_repository.hpp>
#include <interlock/core/transaction_service.hpp>
#include <interlock/observability/observed_repository.hpp>
#include <interlock/observability/observers.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/pessimistic_row_lock.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"
#include "support/started_repository.hpp"
#include "support/states.hpp"

#include <array>
#include <cstddef>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace observers_test {

using namespace interlock;
using interlock_test::Stock;
using Repository = memory::StateRepository<Stock>;
using Words = std::vector<std::string>;

/// Keeps what it was told of, with its own tag where a call is known.
class Notes final : public Observer {
public:
    explicit Notes(HearsKeys keys = HearsKeys::no) : Observer(keys) {}

    void on_begin(CallInfo& call) noexcept override
    {
        call.tag = this;
        nested += call.outer != nullptr && call.outer->tag == this ? 1 : 0;
        keys_seen += call.keys.size();
    }
    void on_transaction(TransactionEvent const& event) noexcept override
    {
        keep(std::string("end ") + name_of(event.result), event.call);
    }
    void on_retry(RetryEvent const& event) noexcept override { keep("retry", event.call); }
    void on_acquire(AcquireEvent const& event) noexcept override
    {
        keep("acquire", event.lock.call);
        keys_seen += event.lock.key != nullptr ? 1 : 0;
    }
    void on_release(ReleaseEvent const& event) noexcept override { keep("release", event.lock.call); }
    void on_store_call(StoreCallEvent const& event) noexcept override
    {
        keep(std::string(event.verb) + " " + name_of(event.result), event.call);
    }

    Words words;
    int nested{0};
    std::size_t keys_seen{0};

private:
    void keep(std::string what, CallInfo const* call)
    {
        std::lock_guard const lock(mutex_);
        words.push_back(std::move(what) + (call != nullptr && call->tag == this ? "" : " by nobody"));
    }
    std::mutex mutex_;
};

Repository with_stock()
{
    Repository repository;
    repository.insert(Stock{"sku-1", 10}).value();
    repository.insert(Stock{"sku-2", 10}).value();
    return repository;
}

TEST_CASE("each of several observers hears all, under its own tag", "[observability][observers]")
{
    Notes one;
    Notes other{HearsKeys::yes};
    Observers both{{&one, &other}};
    CHECK(both.hears_keys());
    TransactionService const service{SetNxLock{}, with_stock(), {.observer = &both}};
    service.do_in_transaction("sku-1", [&](Stock& s) {
        service.do_in_transaction("sku-2", [](Stock& inner) { --inner.quantity; });
        --s.quantity;
    });
    Words const expected{"acquire", "acquire", "release", "end ok", "release", "end ok"};
    CHECK(one.words == expected);
    CHECK(other.words == expected);
    CHECK(one.nested == 1);
    CHECK(other.nested == 1);
    CHECK(one.keys_seen == 0);
    CHECK(other.keys_seen == 4);
}

TEST_CASE("a conflict reaches an observer that knows retries only", "[observability][observers]")
{
    auto const repository = with_stock();
    Notes notes;
    Observers all{{&notes}};
    TransactionService const service{OptimisticVersioning{.max_attempts = 2}, repository, {.observer = &all}};
    static_cast<void>(service.try_do_in_transaction("sku-1", [&](Stock& s) {
        auto const seen = repository.load("sku-1").value();
        repository.compare_and_set("sku-1", seen.version, seen.value).value();
        --s.quantity;
    }));
    CHECK(notes.words == Words{"retry", "end version_conflict"});
}

TEST_CASE("each verb of a store is told for the call that asked", "[observability][observed_repository]")
{
    Notes notes;
    ObservedRepository const stock{with_stock(), notes};
    SECTION("under a policy with versions")
    {
        TransactionService const service{OptimisticVersioning{}, stock, {.observer = &notes}};
        service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
        CHECK(notes.words == Words{"load ok", "compare_and_set ok", "end ok"});
        CHECK(service.try_do_in_transaction("sku-9", [](Stock&) {}).errc() == Errc::not_found);
        CHECK(notes.words.at(3) == "load not_found");
    }
    SECTION("under a policy with leases, on a service of another observer")
    {
        TransactionService const service{SetNxLock{}, stock};
        service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
        REQUIRE(notes.words.size() >= 2);
        CHECK(notes.words.back() == "commit ok by nobody");
    }
    SECTION("and row locks are still there")
    {
        TransactionService const service{PessimisticRowLock{}, stock, {.observer = &notes}};
        service.do_in_transaction("sku-1", [](Stock& s) { --s.quantity; });
        CHECK(notes.words == Words{"load_for_update ok", "commit ok", "end ok"});
        CHECK(stock.load("sku-1").value().value.quantity == 9);
    }
    SECTION("a row transaction that ends without a commit is rolled back")
    {
        TransactionService const service{PessimisticRowLock{}, stock, {.observer = &notes}};
        auto const refuse = [](Stock&) { throw std::runtime_error("sold out"); };
        CHECK_THROWS_AS(service.do_in_transaction("sku-1", refuse), std::runtime_error);
        CHECK(notes.words == Words{"load_for_update ok", "rollback ok", "end cancelled"});
        notes.words.clear();
        service.do_in_transaction("sku-1", [](Stock&) {});
        CHECK(notes.words == Words{"load_for_update ok", "rollback ok", "end ok"});
    }
    SECTION("rows that somebody else has")
    {
        Key const key{"sku-1"};
        std::array const keys{&key};
        using Rows = decltype(stock)::transaction_type;
        auto rows = stock.carry_out(verb::LoadForUpdate<Rows>{keys, Wait::no}, Deadline{}).value();
        CHECK(notes.words == Words{"load_for_update ok by nobody"});
        notes.words.clear();
        TransactionService const service{PessimisticRowLock{.wait = Wait::no}, stock, {.observer = &notes}};
        CHECK(service.try_do_in_transaction("sku-1", [](Stock&) {}).errc() == Errc::lock_busy);
        CHECK(notes.words == Words{"load_for_update lock_busy", "end lock_busy"});
        auto moved = std::move(rows);
        notes.words.clear();
        moved.rollback();
        CHECK(notes.words == Words{"rollback ok by nobody"});
    }
}

TEST_CASE("a call that was started is told when its answer is taken", "[observability][observed_repository]")
{
    Notes notes;
    ObservedRepository const stock{interlock_test::StartedRepository{with_stock()}, notes};
    TransactionService const service{OptimisticVersioning{}, stock, {.observer = &notes}};
    boost::asio::io_context context;
    auto const take = [](Stock& s) { --s.quantity; };
    bool applied = false;
    service.async_try_do_in_transaction(
        "sku-1", take,
        boost::asio::bind_executor(
            context.get_executor(),
            [&](std::exception_ptr const&, Outcome<void> const& end) { applied = bool(end); }));
    context.run();
    CHECK(applied);
    REQUIRE(notes.words.size() == 3);
    CHECK(notes.words[0] == "load ok");
    CHECK(notes.words[2] == "end ok");
}

}  // namespace observers_test
