// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP

/// @file
/// The table of one repository, mapped or our own: how keys and values become parameters, and replies become
/// states.

#include <interlock/backends/postgres/detail/columns.hpp>
#include <interlock/backends/postgres/detail/table_core.hpp>
#include <interlock/backends/postgres/repository_options.hpp>
#include <interlock/core/kit/state_slot.hpp>
#include <interlock/core/state_traits.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// What the types `T` and `K` are, see `TypeShape`.
template <class T, class K>
TypeShape type_shape()
{
    TypeShape shape;
    shape.storable = StorableState<T>;
    shape.is_row = is_row_type<T>();
    shape.columns = column_names<T>();
    shape.is_key = is_key_type<K>;
    shape.key_is_struct = is_row_type<K>();
    shape.key_columns = column_names<K>();
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

    bool add_key_columns(Params& params, Key const& key) const override
    {
        if constexpr (is_key_type<K>) {
            K const decoded(KeyTraits<K>::decode(key.bytes()));
            bool good = KeyTraits<K>::encode(decoded) == key.bytes();
            for_each_part(decoded, [&](auto const& part) { good = good && add_column(params, part); });
            return good;
        } else {
            return false;
        }
    }

    Outcome<void> add_value(
        KnownTable const& known, Params& params, Key const& key, void const* state) const override
    {
        auto const& value = *static_cast<T const*>(state);
        if constexpr (requires { StateTraits<T>::encoded_size(value); })
            if (auto fits = this->check_size(StateTraits<T>::encoded_size(value)); !fits)
                return fits;
        if (this->mapped)
            return add_columns(known.table, params, key, value);
        if constexpr (StorableState<T>) {
            std::string encoded;
            if (auto failure = interlock::detail::encode_state(value, encoded))
                return *std::move(failure);
            if (auto fits = this->check_encoded(encoded.size()); !fits)
                return fits;
            params.bytes(encoded);
        }
        return success();
    }

    /// The state of a row of `load` or a locking read.
    Outcome<Versioned<T>> read(Reply const& reply, std::size_t row) const
    {
        auto const version = this->version_of(reply, row);
        if (!version)
            return version.failure();
        if (this->mapped)
            return read_columns(reply, row, *version);
        if constexpr (StorableState<T>)
            if (auto const bytes = reply.bytes(row, 1))
                if (auto value = interlock::detail::decode_state<T>(*bytes))
                    return Versioned<T>{*std::move(value), *version};
        return this->undecodable(*version);
    }

private:
    Outcome<void> add_columns(Table const& table, Params& params, Key const& key, T const& value) const
    {
        if (!interlock::detail::belongs_to<T, K>(value, key))
            return this->foreign_key();
        if constexpr (is_row_type<T>()) {
            char const* bad = nullptr;
            std::size_t column = 0;
            for_each_column(value, [&](char const* name, auto const& member) {
                if (table.written[column++] && bad == nullptr && !add_column(params, member))
                    bad = name;
            });
            if (bad != nullptr)
                return this->has_nul(bad);
        }
        return success();
    }

    Outcome<Versioned<T>> read_columns(Reply const& reply, std::size_t row, Version version) const
    {
        if constexpr (is_row_type<T>()) {
            Versioned<T> out{T{}, version};
            char const* bad = nullptr;
            std::size_t column = 1;
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
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATE_TABLE_HPP
