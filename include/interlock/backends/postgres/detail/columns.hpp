// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP

// Members of a described struct as columns of a table. Values cross as text, as the column's type reads and writes it, so
// that a column may have any type whose text the member's type can hold: an integer in a numeric, a string in a uuid.

#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/core/state_traits.hpp>

#include <boost/describe/enum_from_string.hpp>
#include <boost/describe/enum_to_string.hpp>
#include <boost/describe/enumerators.hpp>
#include <boost/mp11/algorithm.hpp>

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class M>
constexpr bool is_column_type() noexcept
{
    if constexpr (interlock::detail::is_optional<M>::value)
        return is_column_type<typename M::value_type>();
    else
        return std::is_same_v<M, std::string> || std::is_enum_v<M> ||
               (std::is_arithmetic_v<M> && !std::is_same_v<M, long double>);
}

template <class T, template <class...> class L, class... D>
constexpr bool members_are_columns(L<D...>) noexcept
{
    return (is_column_type<std::remove_cvref_t<decltype(std::declval<T&>().*D::pointer)>>() && ...);
}

/// A struct whose members are columns.
template <class T>
constexpr bool is_row_type() noexcept
{
    if constexpr (interlock::detail::Described<T>)
        return std::is_default_constructible_v<T> && members_are_columns<T>(interlock::detail::described_members<T>{});
    else
        return false;
}

/// False: a text with a NUL, which no text column can hold.
template <class M>
bool add_column(Params& params, M const& value)
{
    if constexpr (interlock::detail::is_optional<M>::value) {
        if (value)
            return add_column(params, *value);
        params.null();
    } else if constexpr (std::is_same_v<M, std::string>) {
        if (value.find('\0') != std::string::npos)
            return false;
        params.text(value);
    } else if constexpr (std::is_same_v<M, bool>) {
        params.boolean(value);
    } else if constexpr (std::is_enum_v<M>) {
        if constexpr (boost::describe::has_describe_enumerators<M>::value) {
            if (char const* const name = boost::describe::enum_to_string(value, nullptr); name != nullptr) {
                params.text(name);
                return true;
            }
        }
        params.text(std::to_string(static_cast<std::underlying_type_t<M>>(value)));
    } else if constexpr (std::is_integral_v<M>) {
        params.text(std::to_string(value));
    } else {
        char buffer[64];
        auto const end = std::to_chars(buffer, buffer + sizeof buffer, value);
        params.text(std::string(buffer, end.ptr));
    }
    return true;
}

/// False: not a text of an `M`.
template <class M>
bool read_column(Reply const& reply, std::size_t row, std::size_t column, M& out)
{
    if constexpr (interlock::detail::is_optional<M>::value) {
        if (reply.null(row, column)) {
            out.reset();
            return true;
        }
        return read_column(reply, row, column, out.emplace());
    } else {
        if (reply.null(row, column))
            return false;
        auto const text = reply.text(row, column);
        if constexpr (std::is_same_v<M, std::string>) {
            out = text;
            return true;
        } else if constexpr (std::is_same_v<M, bool>) {
            out = text == "t" || text == "1";
            return out || text == "f" || text == "0";
        } else if constexpr (std::is_enum_v<M>) {
            if constexpr (boost::describe::has_describe_enumerators<M>::value)
                if (std::string const name(text); boost::describe::enum_from_string(name.c_str(), out))
                    return true;
            std::underlying_type_t<M> number{};
            auto const end = std::from_chars(text.data(), text.data() + text.size(), number);
            out = static_cast<M>(number);
            return end.ec == std::errc{} && end.ptr == text.data() + text.size();
        } else {
            auto const end = std::from_chars(text.data(), text.data() + text.size(), out);
            return end.ec == std::errc{} && end.ptr == text.data() + text.size();
        }
    }
}

/// The names of all members, in order.
template <class T>
std::vector<std::string> column_names()
{
    std::vector<std::string> names;
    if constexpr (interlock::detail::Described<T>)
        boost::mp11::mp_for_each<interlock::detail::described_members<T>>([&](auto member) { names.push_back(member.name); });
    return names;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP
