// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP

/// @file
/// The table of one repository, mapped or our own: how keys and values become parameters, and replies become
/// states.

#include <interlock/backends/postgres/detail/columns.hpp>
#include <interlock/backends/postgres/detail/table_changes.hpp>
#include <interlock/backends/postgres/detail/utf8.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/core/kit/newer_states.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/state_traits.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

template <class P>
constexpr KeyPartKind key_part_kind() noexcept
{
    if constexpr (std::is_same_v<P, std::string>)
        return KeyPartKind::text;
    else if constexpr (std::is_integral_v<P> && std::is_signed_v<P>)
        return KeyPartKind::number;
    else if constexpr (std::is_integral_v<P> && !std::is_same_v<P, bool>)
        return KeyPartKind::natural;
    else
        return KeyPartKind::other;
}

/// The kinds of the parts of a key, in order.
template <class K>
std::vector<KeyPartKind> key_kinds()
{
    std::vector<KeyPartKind> kinds;
    if constexpr (!is_key_type<K> || is_column_type<K>())
        kinds.push_back(key_part_kind<K>());
    else if constexpr (is_row_type<K>()) {
        K const key{};
        for_each_column(key, [&](char const*, auto const& part) {
            kinds.push_back(key_part_kind<std::remove_cvref_t<decltype(part)>>());
        });
    } else
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (kinds.push_back(key_part_kind<std::tuple_element_t<I, K>>()), ...);
        }(std::make_index_sequence<std::tuple_size_v<K>>{});
    return kinds;
}

/// What the types `T` and `K` are, see `TypeShape`.
template <class T, class K>
TypeShape type_shape()
{
    TypeShape shape;
    shape.storable = StorableState<T>;
    shape.is_row = is_row_type<T>();
    shape.columns = column_names<T>();
    shape.kinds = column_kinds<T>();
    shape.unfit = members_without_column<T>();
    shape.is_key = is_key_type<K>;
    shape.key_is_struct = is_row_type<K>();
    shape.key_columns = column_names<K>();
    shape.key_kinds = key_kinds<K>();
    if constexpr (is_key_type<K> && !is_row_type<K>() && !is_column_type<K>())
        shape.key_parts = std::tuple_size_v<K>;
    return shape;
}

/// The table of one repository, mapped or our own: how its keys and states become parameters, and how rows
/// become states. `R`: the runtime.
template <class T, class K, class R>
class StateTable final : public TableCore<R> {
    using Core = TableCore<R>;

public:
    StateTable(std::shared_ptr<PoolState<R>> p, RepositoryOptions o)
        : Core(std::move(p), std::move(o), type_shape<T, K>())
    {}

    StateTable(StateTable const& base, std::vector<Setting> settings) : Core(base, std::move(settings)) {}

    bool add_key_columns(KnownTable const& known, Params& params, Key const& key) const override
    {
        if constexpr (is_key_type<K>) {
            K const decoded(KeyTraits<K>::decode(key.bytes()));
            bool good = KeyTraits<K>::encode(decoded) == key.bytes();
            std::size_t i = 0;
            for_each_part(decoded, [&](auto const& part) {
                good = good && add_column(params, part, known.table.key_forms[i++]) == nullptr;
            });
            return good;
        } else {
            return false;
        }
    }

    bool may_be_key(KnownTable const& known, Key const& key) const override
    {
        bool good = true;
        if constexpr (is_key_type<K>) {
            std::size_t i = 0;
            for_each_part(K(KeyTraits<K>::decode(key.bytes())), [&](auto const& part) {
                using PartOfKey = std::remove_cvref_t<decltype(part)>;
                auto const column = i++;
                if constexpr (std::is_integral_v<PartOfKey> && !std::is_same_v<PartOfKey, bool>)
                    good = good && std::cmp_less_equal(part, known.table.key_most[column]) &&
                           std::cmp_greater_equal(part, -known.table.key_most[column] - 1);
                else if constexpr (std::is_convertible_v<PartOfKey const&, std::string_view>)
                    good = good &&
                           (known.table.key_forms[column].type == ColumnForm::Type::bytes || is_utf8(part));
            });
        }
        return good;
    }

    std::vector<Params> parts_of_key(KnownTable const& known, Key const& key) const override
    {
        std::vector<Params> parts;
        if constexpr (is_key_type<K>) {
            K const decoded(KeyTraits<K>::decode(key.bytes()));
            for_each_part(decoded, [&](auto const& part) {
                auto const i = parts.size();
                parts.emplace_back();
                static_cast<void>(add_column(parts.back(), part, known.table.key_forms[i]));
            });
        }
        return parts;
    }

    Outcome<void> add_given_key(
        KnownTable const& known, Params& params, RowChange const& change,
        std::string const& made) const override
    {
        bool good = true;
        if constexpr (is_key_type<K> && KeyedState<T>) {
            std::size_t i = 0;
            for_each_part(StateTraits<T>::key(*static_cast<T const*>(change.value)), [&](auto const& part) {
                if (made[i] == '0')
                    good = good && add_column(params, part, known.table.key_forms[i]) == nullptr;
                ++i;
            });
        }
        return good ? success() : Outcome<void>{this->bad_key()};
    }

    /// Inserts a row whose key the server makes.
    Outcome<Versioned<T>> insert_new(T const& value, OperationId const* id, Deadline until) const
    {
        auto const key = make_key<T, K>(value);
        RowChange change;
        change.key = &key;
        change.value = &value;
        auto const reply = Core::insert_new(change, id, until);
        if (!reply)
            return reply.failure();
        auto const version = this->version_of(*reply, 0);
        if (!version)
            return version.failure();
        return read_columns(*reply, 0, *version, reply->columns() - this->table.shown.size());
    }

    /// Whether the server makes keys, and nobody has set that of `value`. Where it is not known to make any,
    /// a key may have got a default meanwhile, and an insert under the key 0 would not fail: so the table is
    /// looked at again, which costs a trip for such a row.
    Outcome<bool> wants_key(T const& value, Deadline until) const
    {
        if (!this->mapped)
            return false;
        for (bool again = true;; again = false) {
            auto const known = this->know(until);
            if (!known)
                return known.failure();
            auto const made = (*known)->made_key(false);
            if (!made.empty() || !nobody_set_key(value, made))
                return !made.empty() && nobody_set_key(value, made);
            if (!again || !this->has_changed(**known, until))
                return false;
        }
    }

    Outcome<void> add_value(
        KnownTable const& known, Params& params, RowChange const& change, std::string& written) const override
    {
        auto const& value = *static_cast<T const*>(change.value);
        if constexpr (requires { StateTraits<T>::encoded_size(value); }) {
            auto const size = interlock::detail::encoded_size_of(value);
            if (!size && !this->mapped)  // the columns need no stored form
                return size.failure();
            if (auto fits = this->check_size(size ? *size : 0); !fits)
                return fits;
        }
        if (this->mapped)
            return add_columns(known.table, params, change, written);
        if constexpr (StorableState<T>) {
            std::string encoded;
            std::optional<std::string> stored{std::in_place};
            if (newer_.any() && change.version != no_version &&
                !(stored = newer_.find(*change.key, change.version)))
                return interlock::detail::NewerStates::must_be_read_again();
            if (auto failure = interlock::detail::encode_state_over(*stored, value, encoded))
                return *std::move(failure);
            if (auto fits = this->check_encoded(encoded.size()); !fits)
                return fits;
            params.bytes(encoded);
        }
        return success();
    }

    bool names_itself(RowChange const& change) const override
    {
        return interlock::detail::belongs_to<T, K>(*static_cast<T const*>(change.value), *change.key);
    }

    bool add_own_key(KnownTable const& known, Params& params, RowChange const& change) const override
    {
        bool good = true;
        std::size_t i = 0;
        if constexpr (is_key_type<K> && KeyedState<T>)
            if constexpr (std::is_same_v<typename StateTraits<T>::key_type, K>)
                for_each_part(
                    StateTraits<T>::key(*static_cast<T const*>(change.value)), [&](auto const& part) {
                        good = good && add_column(params, part, known.table.key_forms[i++]) == nullptr;
                    });
        static_cast<void>(i);
        return good;
    }

    /// Notes the state's own key in `seen`. False: it is there already, so that two keys of a call, which are
    /// spelled differently, name one row.
    bool is_new(KnownTable const& known, T const& value, std::vector<std::string>& seen) const
    {
        if constexpr (KeyedState<T>)
            if constexpr (std::is_same_v<typename StateTraits<T>::key_type, K>) {
                if (known.table.record_key.empty())
                    return true;  // the keys are spelled in one way only
                auto own = KeyTraits<K>::encode(StateTraits<T>::key(value));
                if (std::find(seen.begin(), seen.end(), own) != seen.end())
                    return false;
                seen.push_back(std::move(own));
            }
        return true;
    }

    /// The state of a row of `load` or a locking read. `key`: whose it is, where the table is not mapped.
    Outcome<Versioned<T>> read(Reply const& reply, std::size_t row, Key const* key) const
    {
        auto const version = this->version_of(reply, row);
        if (!version)
            return version.failure();
        if (this->mapped)
            return read_columns(reply, row, *version);
        interlock::detail::Reading reading;
        if constexpr (StorableState<T>)
            if (auto const bytes = reply.bytes(row, 1))
                if (auto value = interlock::detail::decode_state<T>(*bytes, reading)) {
                    if (key != nullptr)
                        newer_.note_read(*key, *version, *bytes, reading.newer);
                    return Versioned<T>{*std::move(value), *version};
                }
        return this->undecodable(*version, reading);
    }

    std::vector<typename Core::WrittenMember> members_of(
        KnownTable const& known, RowChange const& change) const override
    {
        std::vector<typename Core::WrittenMember> members;
        if constexpr (is_row_type<T>()) {
            std::size_t shown = 0;
            for_each_column(*static_cast<T const*>(change.value), [&](char const* name, auto const& member) {
                auto const i = shown++;
                Params value;
                if (add_column(value, member, known.table.forms[i]) == nullptr)
                    members.push_back({name, i, std::move(value)});
            });
        }
        return members;
    }

    /// Says to the caller of a commit that was applied what it made of the state, if the caller asks.
    void tell(RowChange const& row, Change<T>& change) const
    {
        if (change.stored == nullptr || change.kind != ChangeKind::write || !this->mapped)
            return;
        *change.stored = {false, std::nullopt};
        if (!row.stored || row.stored.rows() == 0 || row.may_differ)
            return;
        auto const first = row.stored.columns() - this->table.shown.size();
        auto stored = read_columns(row.stored, 0, row.version, first);
        if (!stored)
            return;  // it is stored, and it is no `T`
        if constexpr (interlock::detail::can_compare<T>())
            change.stored->as_sent = interlock::detail::surely_equal(stored->value, *change.value);
        if (!change.stored->as_sent)
            change.stored->value.emplace(std::move(stored->value));
    }

private:
    /// Whether the parts of the key that the server makes, as `made` says, are those of a default-constructed
    /// key; all parts, where it makes none.
    static bool nobody_set_key(T const& value, std::string const& made)
    {
        bool initial = false;
        if constexpr (
            is_key_type<K> && std::is_same_v<std::remove_cvref_t<decltype(StateTraits<T>::key(value))>, K>) {
            std::size_t i = 0;
            initial = true;
            for_each_part(StateTraits<T>::key(value), [&](auto const& part) {
                using PartOfKey = std::remove_cvref_t<decltype(part)>;
                if (initial && (made.empty() || made[i] == '1'))
                    initial = interlock::detail::surely_equal(part, PartOfKey{});
                ++i;
            });
        }
        return initial;
    }
    Outcome<void> add_columns(
        Table const& shaped, Params& params, RowChange const& change, std::string& written) const
    {
        auto const& value = *static_cast<T const*>(change.value);
        if constexpr (is_row_type<T>()) {
            auto const* const before = static_cast<T const*>(change.before);
            std::optional<Failure> failure;
            std::size_t column = 0;
            for_each_column_of_both(
                value, before != nullptr ? *before : value,
                [&](char const* name, auto const& member, auto const& loaded) {
                    auto const i = column++;
                    if (!shaped.written[i] || failure)
                        return;
                    auto const writing =
                        change.version == no_version ? writing_of_new(shaped, i, member)
                        : before == nullptr
                            ? writing_of_update(shaped, i, std::nullopt)
                            : writing_of_update(shaped, i, !interlock::detail::surely_equal(member, loaded));
                    written += writing == Writing::yes ? '1' : writing == Writing::made ? '2' : '0';
                    if (writing == Writing::yes)
                        if (auto const misfit = add_column(params, member, shaped.forms[i]))
                            failure = this->cannot_hold(name, misfit);
                    if (writing == Writing::no_right || writing == Writing::read_only)
                        failure = this->not_to_be_written(i, writing, change);
                });
            if (failure)
                return *std::move(failure);
            if (written.find_first_not_of('1') == std::string::npos)
                written.clear();
        }
        return success();
    }

    template <class M>
    static Writing writing_of_new(Table const& shaped, std::size_t i, M const& member)
    {
        bool empty = false;
        if constexpr (interlock::detail::is_optional<M>::value)
            empty = !member;
        bool const initial = !shaped.uses[i].may_insert && interlock::detail::surely_equal(member, M{});
        return writing_of_insert(shaped, i, empty, initial);
    }

    /// The columns of the state begin with the one that has the number `column`.
    Outcome<Versioned<T>> read_columns(
        Reply const& reply, std::size_t row, Version version, std::size_t column = 1) const
    {
        if constexpr (is_row_type<T>()) {
            Versioned<T> out{T{}, version};
            char const* bad = nullptr;
            for_each_column(out.value, [&](char const* name, auto& member) {
                if (!read_column(reply, row, column++, member) && bad == nullptr)
                    bad = name;
            });
            if (bad == nullptr)
                return out;
            return this->does_not_fit(bad);
        } else {
            return damaged("not a row type");
        }
    }

    // The states of the library's own table that have members which `T` does not have.
    mutable interlock::detail::NewerStates newer_;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP
