// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP

/// @file
/// The members of a described struct as columns of a table. Values cross as text, as the column's type reads
/// and writes it. A column may therefore have any type whose text the member's type can hold: an integer in a
/// numeric column, a string in a uuid.

#include <interlock/backends/postgres/column_traits.hpp>
#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/backends/postgres/detail/column_text.hpp>
#include <interlock/backends/postgres/detail/reply.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/forced_unwinding.hpp>

#include <boost/describe/enum_from_string.hpp>
#include <boost/describe/enum_to_string.hpp>
#include <boost/describe/enumerators.hpp>
#include <boost/mp11/algorithm.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <ratio>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// A type of the user's own that is one column.
template <class M>
concept OwnColumn = requires(M const& value, std::string_view text) {
    { ColumnTraits<M>::to_text(value) } -> std::convertible_to<std::string>;
    { ColumnTraits<M>::from_text(text) } -> std::same_as<std::optional<M>>;
};

template <class E>
concept LabelledEnum = requires { EnumLabels<E>::labels; };

template <class M>
struct is_bytes : std::false_type {};
template <>
struct is_bytes<std::vector<std::byte>> : std::true_type {};
template <>
struct is_bytes<std::vector<unsigned char>> : std::true_type {};
template <>
struct is_bytes<std::vector<char>> : std::true_type {};
template <std::size_t N>
struct is_bytes<std::array<std::byte, N>> : std::true_type {};
template <std::size_t N>
struct is_bytes<std::array<unsigned char, N>> : std::true_type {};

template <class M>
struct is_time : std::false_type {};
template <class D>
struct is_time<std::chrono::sys_time<D>> : std::bool_constant<std::is_integral_v<typename D::rep>> {};

template <class M>
constexpr bool is_day =
    std::is_same_v<M, std::chrono::sys_days> || std::is_same_v<M, std::chrono::year_month_day>;

template <class M>
constexpr bool is_column_type() noexcept;

/// A list of columns: an array of the server's.
template <class M>
struct is_list : std::false_type {};
template <class E>
struct is_list<std::vector<E>>
    : std::bool_constant<!is_bytes<std::vector<E>>::value && is_column_type<E>() && !is_list<E>::value> {};
template <class E>
struct is_list<std::optional<E>> : is_list<E> {};

/// Whether a member of type `M` is one column.
template <class M>
constexpr bool is_column_type() noexcept
{
    if constexpr (OwnColumn<M>)
        return true;
    else if constexpr (interlock::detail::is_optional<M>::value)
        return !interlock::detail::is_optional<typename M::value_type>::value &&
               is_column_type<typename M::value_type>();
    else
        return std::is_same_v<M, std::string> || std::is_enum_v<M> || is_bytes<M>::value ||
               is_time<M>::value || is_day<M> || is_list<M>::value ||
               (std::is_arithmetic_v<M> && !std::is_same_v<M, long double>);
}

template <class M>
constexpr MemberKind kind_of_member() noexcept
{
    if constexpr (OwnColumn<M>)
        return MemberKind::own;
    else if constexpr (interlock::detail::is_optional<M>::value)
        return kind_of_member<typename M::value_type>();
    else if constexpr (std::is_same_v<M, std::string>)
        return MemberKind::text;
    else if constexpr (std::is_same_v<M, bool>)
        return MemberKind::boolean;
    else if constexpr (std::is_enum_v<M>)
        return MemberKind::enumeration;
    else if constexpr (is_bytes<M>::value)
        return MemberKind::bytes;
    else if constexpr (is_day<M>)
        return MemberKind::day;
    else if constexpr (is_time<M>::value)
        return MemberKind::time;
    else if constexpr (is_list<M>::value)
        return MemberKind::list;
    else
        return MemberKind::number;
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

/// Why a value cannot stand in a column; null: it can.
using Misfit = char const*;

inline constexpr char misfit_nul[] = "has a NUL";
inline constexpr char misfit_fraction[] = "is finer than a microsecond";
inline constexpr char misfit_range[] = "is beyond the times of PostgreSQL";
inline constexpr char misfit_day[] = "is no day of the calendar";
inline constexpr char misfit_traits[] = "cannot become a text: its ColumnTraits<>::to_text throws";
inline constexpr char misfit_label[] = "is an enumerator that no label of the column belongs to";

/// The text of a point in time.
template <class D>
Misfit time_text_of(std::chrono::sys_time<D> value, std::string& out)
{
    using std::chrono::microseconds;
    constexpr bool finer = std::ratio_less_v<typename D::period, microseconds::period>;
    if constexpr (finer) {
        if (std::chrono::floor<microseconds>(value) != value)
            return misfit_fraction;
    } else {
        using Wide = std::chrono::duration<std::int64_t, typename D::period>;
        constexpr auto limit = std::chrono::floor<Wide>(std::chrono::hours{24} * 106'000'000);
        Wide const since = value.time_since_epoch();
        if (since > limit || since < -limit)
            return misfit_range;
    }
    out = time_text(std::chrono::floor<microseconds>(value).time_since_epoch().count());
    return nullptr;
}

/// Reads a point in time. False: it is none, or it is finer or further than an `M` can be.
template <class D>
bool read_time(std::string_view text, std::chrono::sys_time<D>& out)
{
    using std::chrono::microseconds;
    auto const read = time_of(text);
    if (!read)
        return false;
    microseconds const since{*read};
    if constexpr (std::ratio_less_v<typename D::period, microseconds::period>)
        if (since > std::chrono::floor<microseconds>(D::max()) ||
            since < std::chrono::ceil<microseconds>(D::min()))
            return false;
    out = std::chrono::sys_time<D>{std::chrono::floor<D>(since)};
    return out.time_since_epoch() == since;
}

template <class M>
bool read_integer(std::string_view text, M& out)
{
    auto const end = std::from_chars(text.data(), text.data() + text.size(), out);
    if (end.ec == std::errc{} && end.ptr == text.data() + text.size())
        return true;
    auto const whole = whole_number_of(text);  // as columns of other numbers have it: 12.00, 1e+06
    auto const last = std::from_chars(whole.data(), whole.data() + whole.size(), out);
    return !whole.empty() && last.ec == std::errc{} && last.ptr == whole.data() + whole.size();
}

/// What the user's own `ColumnTraits` make of a value. An exception of theirs says that there is no such
/// text, before anything is sent; that there is no memory is no matter of the value.
template <class M>
Misfit own_text(M const& value, std::string& out)
{
    try {
        out = ColumnTraits<M>::to_text(value);
    } catch (std::bad_alloc const&) {
        throw;
    }
    INTERLOCK_PASS_FORCED_UNWINDING
    catch (...)
    {
        return misfit_traits;
    }
    return out.find('\0') == std::string::npos ? nullptr : misfit_nul;
}

/// The value of what a column has; nothing if `ColumnTraits` find none in it, or throw.
template <class M>
std::optional<M> own_value(std::string_view text)
{
    try {
        return ColumnTraits<M>::from_text(text);
    } catch (std::bad_alloc const&) {
        throw;
    }
    INTERLOCK_PASS_FORCED_UNWINDING
    catch (...)
    {
        return std::nullopt;
    }
}

/// The text of the label of an enumerator; empty: its number.
template <class M>
Misfit label_text(M value, ColumnForm const& form, std::string& out)
{
    if constexpr (LabelledEnum<M>) {
        for (auto const& [enumerator, label] : EnumLabels<M>::labels)
            if (enumerator == value) {
                out = std::string_view{label};
                return nullptr;
            }
        return misfit_label;
    } else {
        if constexpr (boost::describe::has_describe_enumerators<M>::value) {
            if (char const* const name = boost::describe::enum_to_string(value, nullptr);
                name != nullptr && form.type != ColumnForm::Type::number) {
                if (form.labels.empty()) {
                    out = name;
                    return nullptr;
                }
                auto const label = label_of(form.labels, name);
                if (label)
                    out = *label;
                return label ? nullptr : misfit_label;
            }
        }
        out = std::to_string(static_cast<std::underlying_type_t<M>>(value));
        return nullptr;
    }
}

template <class M>
bool read_label(std::string_view text, bool sql_enum, M& out)
{
    if constexpr (LabelledEnum<M>) {
        for (auto const& [enumerator, label] : EnumLabels<M>::labels)
            if (std::string_view{label} == text) {
                out = enumerator;
                return true;
            }
        return false;
    } else {
        if constexpr (boost::describe::has_describe_enumerators<M>::value) {
            if (std::string const name(text); boost::describe::enum_from_string(name.c_str(), out))
                return true;
            bool found = false;
            if (sql_enum)
                boost::mp11::mp_for_each<boost::describe::describe_enumerators<M>>([&](auto enumerator) {
                    if (!found && reads_as(text, enumerator.name)) {
                        out = enumerator.value;
                        found = true;
                    }
                });
            if (found)
                return true;
        }
        std::underlying_type_t<M> number{};
        bool const good = read_integer(text, number);
        out = static_cast<M>(number);
        return good;
    }
}

template <class M>
std::string_view bytes_view(M const& value) noexcept
{
    return {reinterpret_cast<char const*>(value.data()), value.size()};
}

template <class M>
bool take_bytes(std::optional<std::string> const& bytes, M& out)
{
    if (!bytes)
        return false;
    if constexpr (requires { out.resize(bytes->size()); })
        out.resize(bytes->size());
    if (bytes->size() != out.size())
        return false;
    if (!bytes->empty())
        std::memcpy(out.data(), bytes->data(), bytes->size());
    return true;
}

template <class M>
Misfit column_text(M const& value, ColumnForm const& form, std::string& out);

/// The text of an array. `form`: of its elements.
template <class M>
Misfit list_text(M const& list, ColumnForm const& form, std::string& out)
{
    std::string text;
    for (std::size_t i = 0; i < list.size(); ++i) {
        typename M::value_type const element = list[i];  // a vector of bool has no references
        std::string part;
        if constexpr (interlock::detail::is_optional<typename M::value_type>::value) {
            if (!element) {
                add_element(text, std::nullopt);
                continue;
            }
            if (auto const misfit = column_text(*element, form, part))
                return misfit;
        } else if (auto const misfit = column_text(element, form, part)) {
            return misfit;
        }
        add_element(text, part);
    }
    out = text.empty() ? "{}" : text + "}";
    return nullptr;
}

/// The text of a value that is no optional, as the column's type reads it.
template <class M>
Misfit column_text(M const& value, ColumnForm const& form, std::string& out)
{
    if constexpr (OwnColumn<M>) {
        return own_text(value, out);
    } else if constexpr (std::is_same_v<M, std::string>) {
        if (value.find('\0') != std::string::npos)
            return misfit_nul;
        out = value;
    } else if constexpr (std::is_same_v<M, bool>) {
        out = form.type == ColumnForm::Type::number ? (value ? "1" : "0") : (value ? "true" : "false");
    } else if constexpr (std::is_enum_v<M>) {
        return label_text(value, form, out);
    } else if constexpr (is_bytes<M>::value) {
        out = form.type == ColumnForm::Type::uuid ? uuid_text(bytes_view(value))
                                                  : bytea_text(bytes_view(value));
    } else if constexpr (std::is_same_v<M, std::chrono::year_month_day>) {
        if (!value.ok())
            return misfit_day;
        out = day_text(std::chrono::sys_days{value}.time_since_epoch().count());
    } else if constexpr (std::is_same_v<M, std::chrono::sys_days>) {
        auto const days = static_cast<std::int64_t>(value.time_since_epoch().count());
        if (days > 106'000'000 || days < -106'000'000)
            return misfit_range;
        out = day_text(days);
    } else if constexpr (is_time<M>::value) {
        return time_text_of(value, out);
    } else if constexpr (is_list<M>::value) {
        return list_text(value, form, out);
    } else if constexpr (std::is_integral_v<M>) {
        out = std::to_string(value);
    } else {
        char buffer[64];
        auto const end = std::to_chars(buffer, buffer + sizeof buffer, value);
        out.assign(buffer, end.ptr);
    }
    return nullptr;
}

/// Adds the value of a column to `params`. An enumerator crosses by its label, or else by its number.
template <class M>
Misfit add_column(Params& params, M const& value, ColumnForm const& form = {})
{
    if constexpr (interlock::detail::is_optional<M>::value && !OwnColumn<M>) {
        if (value)
            return add_column(params, *value, form);
        params.null();
        return nullptr;
    } else if constexpr (std::is_same_v<M, bool>) {
        if (form.type != ColumnForm::Type::number) {
            params.boolean(value);
            return nullptr;
        }
        params.text(value ? "1" : "0");
        return nullptr;
    } else {
        if constexpr (std::is_same_v<M, std::string>)
            if (form.type == ColumnForm::Type::bytes) {
                params.bytes(value);
                return nullptr;
            }
        std::string text;
        if (auto const misfit = column_text(value, form, text))
            return misfit;
        params.text(std::move(text));
        return nullptr;
    }
}

/// Oids of types of the server's own. 0 is that of an element of an array, whose type is not known.
inline constexpr std::uint32_t boolean_oid = 16;
inline constexpr std::uint32_t bytea_oid = 17;
inline constexpr std::uint32_t bpchar_oid = 1042;

/// A number or a label without the blanks by which `char(n)` fills it up.
inline std::string_view without_filling(std::string_view text, std::uint32_t type) noexcept
{
    while ((type == bpchar_oid || type == 0) && text.ends_with(' '))
        text.remove_suffix(1);
    return text;
}

template <class M>
bool read_text(std::string_view text, std::uint32_t type, M& out);

/// `type`: of the array.
template <class M>
bool read_list(std::string_view text, std::uint32_t type, M& out)
{
    auto const elements = elements_of(text);
    auto const of_element = type >= first_user_oid ? first_user_oid : 0;
    if (!elements)
        return false;
    out.clear();
    for (auto const& element : *elements) {
        typename M::value_type value{};
        if constexpr (interlock::detail::is_optional<typename M::value_type>::value) {
            if (element && !read_text(*element, of_element, value.emplace()))
                return false;
        } else if (!element || !read_text(*element, of_element, value)) {
            return false;
        }
        out.push_back(std::move(value));
    }
    return true;
}

/// Reads a value that is no optional from what a column of type `type` has.
template <class M>
bool read_text(std::string_view text, std::uint32_t type, M& out)
{
    if constexpr (OwnColumn<M>) {
        auto value = own_value<M>(text);
        if (value)
            out = *std::move(value);
        return value.has_value();
    } else if constexpr (std::is_same_v<M, std::string>) {
        if (type != bytea_oid) {
            out = text;
            return true;
        }
        auto bytes = text.starts_with("\\x") ? bytes_of_hex(text.substr(2)) : std::nullopt;
        if (bytes)
            out = *std::move(bytes);
        return bytes.has_value();
    } else if constexpr (is_bytes<M>::value) {
        return take_bytes(bytes_of_hex(text.starts_with("\\x") ? text.substr(2) : text), out);
    } else if constexpr (std::is_same_v<M, bool>) {
        auto const word = without_filling(text, type);
        int number = word == "t" ? 1 : word == "f" ? 0 : -1;
        bool const good = number >= 0 || (read_integer(word, number) && (number == 0 || number == 1));
        out = number == 1;
        return good;
    } else if constexpr (std::is_enum_v<M>) {
        return read_label(without_filling(text, type), type >= first_user_oid, out);
    } else if constexpr (std::is_same_v<M, std::chrono::year_month_day>) {
        std::chrono::sys_days day;
        if (!read_time(text, day) || day < std::chrono::sys_days{std::chrono::year::min() / 1 / 1} ||
            day > std::chrono::sys_days{std::chrono::year::max() / 12 / 31})
            return false;
        out = day;
        return true;
    } else if constexpr (is_time<M>::value) {
        return read_time(text, out);
    } else if constexpr (is_list<M>::value) {
        return read_list(text, type, out);
    } else {
        if constexpr (std::is_integral_v<M>) {
            bool const truth = (type == boolean_oid || type == 0) && (text == "t" || text == "f");
            if (truth)
                out = text == "t" ? 1 : 0;
            return truth || read_integer(without_filling(text, type), out);
        }
        auto const end = std::from_chars(text.data(), text.data() + text.size(), out);
        return end.ec == std::errc{} && end.ptr == text.data() + text.size();
    }
}

/// Reads the value of a column into `out`. Returns false when the text is not that of an `M`, or is a null
/// and `M` no optional.
template <class M>
bool read_column(Reply const& reply, std::size_t row, std::size_t column, M& out)
{
    if constexpr (interlock::detail::is_optional<M>::value && !OwnColumn<M>) {
        if (reply.null(row, column)) {
            out.reset();
            return true;
        }
        return read_column(reply, row, column, out.emplace());
    } else {
        if (reply.null(row, column))
            return false;
        return read_text(reply.text(row, column), reply.type(column), out);
    }
}

/// What the members are that the columns are made of, in order.
template <class T>
std::vector<MemberKind> column_kinds()
{
    std::vector<MemberKind> kinds;
    if constexpr (is_row_type<T>()) {
        T const row{};
        for_each_column(row, [&](char const*, auto const& member) {
            kinds.push_back(kind_of_member<std::remove_cvref_t<decltype(member)>>());
        });
    }
    return kinds;
}

/// Does not compile for a member that can be no column; the compiler names it as `Member`.
template <class T, auto Member>
constexpr bool member_is_column() noexcept
{
    using M = std::remove_cvref_t<decltype(std::declval<T&>().*Member)>;
    static_assert(
        is_column_type<M>() || is_row_type<M>(),
        "interlock: a member of the state (`Member`, see the note) can be no column of a table: specialise "
        "postgres::ColumnTraits for its type; nor can the state be stored in the library's own table, which "
        "needs StateTraits<T>::encode and decode");
    return true;
}

template <class T, template <class...> class L, class... D>
constexpr bool all_members_are_columns(L<D...>) noexcept
{
    return (member_is_column<T, D::pointer>() && ...);
}

/// Does not compile for a described state that no table can hold, the user's own or ours.
template <class T>
constexpr bool some_table_can_hold() noexcept
{
    if constexpr (interlock::detail::Described<T> && !StorableState<T> && !is_row_type<T>())
        return all_members_are_columns<T>(interlock::detail::described_members<T>{});
    else
        return true;
}

/// The names of the members that can be no column.
template <class T>
std::vector<std::string> members_without_column()
{
    std::vector<std::string> names;
    if constexpr (interlock::detail::Described<T>)
        boost::mp11::mp_for_each<interlock::detail::described_members<T>>([&](auto member) {
            using M = std::remove_cvref_t<decltype(std::declval<T&>().*member.pointer)>;
            if constexpr (!is_column_type<M>() && !is_row_type<M>())
                names.emplace_back(member.name);
        });
    return names;
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
namespace detail {

/// What `surely_equal` compares of a type that is one column.
template <postgres::detail::OwnColumn M>
struct StoredText<M> {
    static std::optional<std::string> text(M const& value)
    {
        std::string out;
        return postgres::detail::own_text(value, out) == nullptr ? std::optional{std::move(out)}
                                                                 : std::nullopt;
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_COLUMNS_HPP
