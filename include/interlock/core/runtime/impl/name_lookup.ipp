// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_RUNTIME_IMPL_NAME_LOOKUP_IPP
#define INTERLOCK_CORE_RUNTIME_IMPL_NAME_LOOKUP_IPP

#include <interlock/core/runtime/name_lookup.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/thread.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <functional>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

INTERLOCK_DECL std::string explain(FoundAddresses const& found)
{
    return found.error == 0 ? "the name of the host was not looked up in time" : ::gai_strerror(found.error);
}

INTERLOCK_DECL FoundAddresses
ask_for_addresses(std::string const& host, std::uint16_t port, int flags) noexcept
{
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | flags;
    addrinfo* list = nullptr;
    FoundAddresses found;
    try {
        found.error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
        if (found.error == 0)
            found.first.reset(list, &::freeaddrinfo);
    } catch (std::bad_alloc const&) {
        found.error = EAI_MEMORY;
    }
    return found;
}

/// A look-up that a thread makes, and that somebody waits for.
class NameLookup {
public:
    NameLookup(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port) {}

    /// On the thread.
    void make()
    {
        {
            std::lock_guard lock(mutex_);
            if (!wanted_)
                return;
        }
        auto found = ask_for_addresses(host_, port_, 0);
        std::lock_guard lock(mutex_);
        found_ = std::move(found);
        done_.ring();
    }
    FoundAddresses wait(TimePoint deadline)
    {
        if (!done_.valid())
            return {nullptr, EAI_MEMORY};
        wait_for_bell(deadline, done_);
        std::lock_guard lock(mutex_);
        wanted_ = false;
        return std::move(found_);
    }

private:
    std::string const host_;
    std::uint16_t const port_;
    Doorbell done_;
    std::mutex mutex_;
    FoundAddresses found_;
    bool wanted_{true};
};

INTERLOCK_DECL FoundAddresses addresses_of(std::string const& host, std::uint16_t port, TimePoint deadline)
{
    WithoutCancellation const whole;  // getaddrinfo(3) holds locks of the C library, and reads files
    if (auto number = ask_for_addresses(host, port, AI_NUMERICHOST); number.first)
        return number;
    static constexpr char look_ups = 0;  // its address is that of no store
    try {
        auto const lookup = std::make_shared<NameLookup>(host, port);
        auto const name = static_cast<unsigned>(std::hash<std::string>{}(host));
        CallThreads::of(&look_ups, name, 4)->run([lookup] { lookup->make(); });
        return lookup->wait(deadline);
    } catch (std::bad_alloc const&) {
        return {nullptr, EAI_MEMORY};
    } catch (std::system_error const&) {  // there is no thread to have
        return {nullptr, EAI_AGAIN};
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_RUNTIME_IMPL_NAME_LOOKUP_IPP
