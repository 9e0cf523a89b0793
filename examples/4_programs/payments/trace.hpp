// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_TRACE_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_TRACE_HPP

// The header field traceparent (W3C Trace Context): a request's trace goes on, or one begins here.

#include "random_hex.hpp"

#include <string>
#include <string_view>

namespace payments {

class Trace {
public:
    /// Goes on with the caller's trace. A field that is missing or malformed begins a new one.
    explicit Trace(std::string_view traceparent)
    {
        if (is_well_formed(traceparent)) {
            id_ = traceparent.substr(3, 32);
            flags_ = traceparent.substr(53, 2);
        }
    }

    std::string const& id() const noexcept { return id_; }
    /// What our answer says: the trace, and our own span in it.
    std::string traceparent() const { return "00-" + id_ + "-" + span_ + "-" + flags_; }

private:
    // Version, trace, caller's span and flags, with dashes between them. A later version may have more.
    static bool is_well_formed(std::string_view text)
    {
        if (text.size() < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-')
            return false;
        auto const version = text.substr(0, 2);
        if (version == "ff" || (text.size() > 55 && (version == "00" || text[55] != '-')))
            return false;
        auto const is_hex = [](std::string_view part) {
            return part.find_first_not_of("0123456789abcdef") == std::string_view::npos;
        };
        auto const is_zero = [](std::string_view part) {
            return part.find_first_not_of('0') == std::string_view::npos;
        };
        auto const trace = text.substr(3, 32);
        auto const span = text.substr(36, 16);
        return is_hex(version) && is_hex(trace) && !is_zero(trace) && is_hex(span) && !is_zero(span) &&
               is_hex(text.substr(53, 2));
    }

    std::string id_{random_hex(32)};
    std::string span_{random_hex(16)};
    std::string flags_{"00"};
};

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_TRACE_HPP
