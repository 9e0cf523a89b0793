// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_THROWING_STATE_HPP
#define INTERLOCK_TESTS_SUPPORT_THROWING_STATE_HPP

/// @file
/// A state whose traits throw, and what every store must make of that.

#include <interlock/core/transaction_service.hpp>
#include <interlock/policies/optimistic_versioning.hpp>
#include <interlock/policies/set_nx_lock.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "support/catch.hpp"

#include <charconv>
#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace interlock_test {

/// Above 1000 it cannot be encoded, and below 0 not be decoded.
struct Moody {
    std::string id;
    int value{0};
};

}  // namespace interlock_test

template <>
struct interlock::StateTraits<interlock_test::Moody> {
    using Moody = interlock_test::Moody;
    using key_type = std::string;
    static std::string const& key(Moody const& state) { return state.id; }
    static void encode(Moody const& state, std::string& out)
    {
        if (state.value > 1000)
            throw std::length_error("too much to encode");
        out += state.id + '=' + std::to_string(state.value);
    }
    static std::optional<Moody> decode(std::string_view bytes)
    {
        auto const at = bytes.find('=');
        int value = 0;
        if (at == bytes.npos ||
            std::from_chars(bytes.data() + at + 1, bytes.data() + bytes.size(), value).ec != std::errc{})
            return std::nullopt;
        if (value < 0)
            throw std::range_error("too little to decode");
        return Moody{std::string{bytes.substr(0, at)}, value};
    }
};

namespace interlock_test {

/// How a call ends that changes "x" by `amount`, made on this thread and asynchronously.
template <class Service>
interlock::Errc end_of_change(Service const& service, int amount)
{
    using namespace std::chrono_literals;
    auto const change = [amount](Moody& state) { return state.value += amount; };
    auto const here = service.try_do_in_transaction("x", change, {.deadline = 20s});
    std::optional<interlock::Outcome<int>> outcome;
    boost::asio::io_context io;
    service.async_try_do_in_transaction(
        "x", change, {.deadline = 20s},
        boost::asio::bind_executor(io, [&](std::exception_ptr exception, interlock::Outcome<int> o) {
            CHECK_FALSE(exception);
            outcome = std::move(o);
        }));
    CHECK_NOTHROW(io.run());
    REQUIRE(outcome);
    CHECK(outcome->errc() == here.errc());
    return here.errc();
}

/// Traits that throw end the call, whatever face and policy it has, and nothing else.
template <class Repository>
void throwing_traits_end_the_call(Repository const& repository)
{
    using interlock::Errc;
    interlock::TransactionService const optimistic{interlock::OptimisticVersioning{}, repository};
    interlock::TransactionService const locking{interlock::SetNxLock{}, repository};
    repository.insert(Moody{"x", 10}).value();
    CHECK(end_of_change(optimistic, 2000) == Errc::invalid_argument);
    CHECK(end_of_change(locking, 2000) == Errc::invalid_argument);
    CHECK(end_of_change(optimistic, -1) == Errc::ok);
    CHECK(end_of_change(locking, -4) == Errc::ok);  // zero now
    static_cast<void>(optimistic.try_do_in_transaction("x", [](Moody& state) { --state.value; }));
    CHECK(repository.load("x").errc() == Errc::corrupt_state);
    CHECK(end_of_change(optimistic, 1) == Errc::corrupt_state);
    CHECK(end_of_change(locking, 1) == Errc::corrupt_state);
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_THROWING_STATE_HPP
