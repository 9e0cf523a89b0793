// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP

/// @file
/// The members of a described struct as columns of a table. Values cross as text, as the column's type reads
/// and writes it. A column may therefore have any type whose text the member's type can hold: an integer in a
/// numeric column, a string in a uuid.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/state_traits.hpp>

#include <boost/describe/enum_from_string.hpp>
#include <boost/describe/enum_to_string.hpp>
#include <boost/describe/enumerators.hpp>
#include <boost/mp11/algorithm.hpp>

#include <charconv>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// Whether a member of type `M` is one column.
template <class M>
constexpr bool is_column_type() noexcept
{
    if constexpr (interlock::detail::is_optional<M>::value)
        return is_column_type<typename M::value_type>();
    else
        return std::is_same_v<M, std::string> || std::is_enum_v<M> ||
               (std::is_arithmetic_v<M> && !std::is_same_v<M, long double>);
}

template <class T>
constexpr bool is_row_type() noexcept;

/// Whether each member is a column, or a struct of columns.
template <class T, template <class...> class L, class... D>
constexpr bool members_are_columns(L<D...>) noexcept
{
    return (
        (is_column_type<std::remove_cvref_t<decltype(std::declval<T&>().*D::pointer)>>() ||
         is_row_type<std::remove_cvref_t<decltype(std::declval<T&>().*D::pointer)>>()) &&
        ...);
}

/// A struct whose members are columns, or such structs themselves.
template <class T>
constexpr bool is_row_type() noexcept
{
    if constexpr (interlock::detail::Described<T>)
        return std::is_default_constructible_v<T> &&
               members_are_columns<T>(interlock::detail::described_members<T>{});
    else
        return false;
}

/// Calls `visit(name, member)` for each column of `row`, in order.
template <class T, class F>
void for_each_column(T& row, F&& visit)
{
    boost::mp11::mp_for_each<interlock::detail::described_members<std::remove_const_t<T>>>([&](auto member) {
        auto& value = row.*member.pointer;
        if constexpr (is_column_type<std::remove_cvref_t<decltype(value)>>())
            visit(member.name, value);
        else
            for_each_column(value, visit);
    });
}

/// Calls `visit(name, member, member of other)` for each column of `row`, in order.
template <class T, class F>
void for_each_column_of_both(T const& row, T const& other, F&& visit)
{
    boost::mp11::mp_for_each<interlock::detail::described_members<T>>([&](auto member) {
        auto const& value = row.*member.pointer;
        if constexpr (is_column_type<std::remove_cvref_t<decltype(value)>>())
            visit(member.name, value, other.*member.pointer);
        else
            for_each_column_of_both(value, other.*member.pointer, visit);
    });
}

/// Calls `visit(part)` for each column of a key: for a pair, a tuple or a struct its parts, for other keys
/// the key itself.
template <class K, class F>
void for_each_part(K const& key, F&& visit)
{
    if constexpr (is_column_type<K>())
        visit(key);
    else if constexpr (is_row_type<K>())
        for_each_column(key, [&](char const*, auto const& part) { visit(part); });
    else
        std::apply([&](auto const&... part) { (visit(part), ...); }, key);
}

/// A pair or a tuple whose parts are columns.
template <class K>
struct is_tuple_of_columns : std::false_type {};
template <class... P>
struct is_tuple_of_columns<std::tuple<P...>> : std::bool_constant<(is_column_type<P>() && ...)> {};
template <class A, class B>
struct is_tuple_of_columns<std::pair<A, B>> : std::bool_constant<is_column_type<A>() && is_column_type<B>()> {
};

/// A key that can be made from its bytes again, and whose parts are columns.
template <class K>
inline constexpr bool is_key_type =
    interlock::detail::DecodableKey<K> &&
    (is_column_type<K>() || is_row_type<K>() || is_tuple_of_columns<K>::value);

/// Adds the value of a column to `params`. Returns false for a text with a NUL, which no text column can
/// hold. An enumerator crosses by its described name, or, without one, by its number.
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

/// Reads the value of a column into `out`. Returns false when the text is not that of an `M`, or is a null
/// and `M` no optional.
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

/// The names of all columns, in order.
template <class T>
std::vector<std::string> column_names()
{
    std::vector<std::string> names;
    if constexpr (is_row_type<T>()) {
        T const row{};
        for_each_column(row, [&](char const* name, auto const&) { names.emplace_back(name); });
    }
    return names;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP
