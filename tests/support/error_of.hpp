// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_ERROR_OF_HPP
#define INTERLOCK_TESTS_SUPPORT_ERROR_OF_HPP

#include <interlock/core/errc.hpp>
#include <interlock/core/outcome.hpp>

#include <boost/system/error_code.hpp>

#include <chrono>
#include <future>
#include <memory>

namespace interlock_test {

/// What a call that reports by an exception came to.
template <class Call>
interlock::Errc error_thrown_by(Call call)
{
    try {
        static_cast<void>(call());
    } catch (interlock::Error const& error) {
        return error.errc();
    }
    return interlock::Errc::ok;
}

/// The same, with the cause and the text of the failure.
template <class Call>
interlock::Outcome<void> ended(Call call)
{
    try {
        call();
    } catch (interlock::Error const& error) {
        return interlock::Failure::because(error.errc(), interlock::Failure{error.cause(), error.detail()});
    }
    return interlock::success();
}

/// What an asynchronous call, which `start` gives its handler, tells it; `ok` when it does not end, which
/// nobody expects. By value: how a future shares an exception between threads, ThreadSanitizer cannot see.
template <class Start>
interlock::Errc told_to_handler(Start start)
{
    auto const end = std::make_shared<std::promise<interlock::Errc>>();
    auto came_to = end->get_future();
    start([end](boost::system::error_code code, auto&&...) {
        end->set_value(static_cast<interlock::Errc>(code.value()));
    });
    if (came_to.wait_for(std::chrono::seconds{20}) != std::future_status::ready)
        return interlock::Errc::ok;
    return came_to.get();
}

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_ERROR_OF_HPP
