// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_PARAMETERS_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_PARAMETERS_HPP

// How the parameters of a statement are numbered.

#include <interlock/backends/postgres/detail/sql_words.hpp>
#include <interlock/backends/postgres/detail/statements.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The parameters of a statement, which get their numbers in the order in which they are named.
class Parameters {
public:
    [[gnu::noinline]] std::string next(std::string_view cast)
    {
        return joined_text({"$", std::to_string(++count_), cast});
    }

    /// The number of the first of the `count` next ones.
    std::size_t next_ones(std::size_t count)
    {
        count_ += static_cast<int>(count);
        return static_cast<std::size_t>(count_) - count + 1;
    }

    /// The bytes by which records of a key are kept.
    std::string record_key(Table const& t)
    {
        if (t.record_key.empty())
            return next("::bytea");
        std::string out;
        for (auto const& part : t.record_key) {
            SqlWords words;
            words.set("part", next(part.cast));
            auto const bytes = words.line(part.expression);
            if (t.record_key.size() == 1)
                return joined_text({"(", bytes, ")"});
            // As `KeyTraits` does: each part with its length in front.
            append(out, {out.empty() ? "(" : " || ", "int4send(octet_length(", bytes, ")) || (", bytes, ")"});
        }
        return out + ")";
    }

    /// The bytes by which operation records of a key are kept: the same, and a mark behind it.
    std::string home(Table const& t)
    {
        auto key = record_key(t);
        return t.record_key.empty() ? key : joined_text({"(", key, " || ", next("::bytea"), ")"});
    }

    /// The number of a key's advisory lock.
    std::string lock_number(Table const& t)
    {
        if (t.record_key.empty())
            return joined_text({"hashint8extended(", next("::bigint"), ", ", t.number, ")"});
        return joined_text({"hashtextextended(encode(", record_key(t), ", 'hex'), ", t.number, ")"});
    }

private:
    int count_{0};
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_STATEMENT_PARAMETERS_HPP
