// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_PAYMENTS_BODY_HPP
#define INTERLOCK_EXAMPLES_PAYMENTS_BODY_HPP

// The body of a request, read as strictly as money asks for.

#include <boost/json/object.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace payments {

/// A JSON object with exactly these members. A member that stands there twice is refused, since two programs
/// would read two amounts in it; so is one that is not known, since whoever sends `currency` is charged
/// something else than he thinks.
class Body {
public:
    Body(std::string_view text, std::initializer_list<std::string_view> members);

    /// A sentence about what is wrong; empty where nothing is, or where only a member's value is.
    std::string const& mistake() const noexcept { return mistake_; }
    /// 1 to 64 characters.
    std::optional<std::string> name(std::string_view member) const;
    /// 1 to 100,000,000 cents, written as an integer: neither 30.0 nor 3e1.
    std::optional<std::int64_t> amount(std::string_view member) const;

private:
    boost::json::value const* find(std::string_view member) const;

    boost::json::object object_;
    std::string mistake_;
};

}  // namespace payments

#endif  // INTERLOCK_EXAMPLES_PAYMENTS_BODY_HPP
