// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_CONTRACT_HPP
#define INTERLOCK_PATTERNS_CONTRACT_HPP

/// @file
/// What a service says by its events is read by others, and for years. A `Contract` is the list of the facts
/// that it says, as a text that is kept under version control; a test compares the two, so that nobody
/// changes a fact by accident:
///
///     using Facts = interlock::Contract<Sold, SoldV1, Reordered>;
///     auto const changes = Facts::check_against("contract.lock");  // in a test
///     for (auto const& change : changes)
///         std::cerr << change.fact << ": " << change.what << '\n';
///     return changes.empty() ? 0 : 1;
///
/// **A new version.** What cannot be added is a new version: the struct that was `Sold` stays in the contract
/// as `SoldV1`, and the new one says how the old one is read:
///
///     struct Sold {
///         std::string sku;
///         std::int64_t quantity = 0;
///         static constexpr interlock::EventType event{"stock.sold", 2};
///         static Sold upcast(SoldV1 const& old) { return {old.sku, old.pieces}; }
///     };
///     auto const sold = interlock::fact_of<Sold>(event);  // of an event of version 1, or 2

#include <interlock/core/event.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/patterns/detail/schema.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {

namespace detail {

template <class F>
struct FormerOf;
template <class F, class Former>
struct FormerOf<F (*)(Former const&)> {
    using type = Former;
};
template <class F, class Former>
struct FormerOf<F (*)(Former const&) noexcept> {
    using type = Former;
};

/// The version of `F` that its `upcast` reads.
template <class F>
using former_of = typename FormerOf<decltype(&F::upcast)>::type;
template <class F>
concept HasFormer = requires { typename FormerOf<decltype(&F::upcast)>::type; };

/// Whether `upcast` leads to `F` from a fact of the same name and a lower version.
template <Fact F>
consteval bool has_sound_upcast()
{
    if constexpr (HasFormer<F>)
        return EventType{former_of<F>::event}.name == EventType{F::event}.name &&
               EventType{former_of<F>::event}.version < EventType{F::event}.version;
    else
        return !requires { &F::upcast; };
}

template <Fact A, Fact B>
inline constexpr bool same_event = EventType{A::event}.name == EventType{B::event}.name &&
                                   EventType{A::event}.version == EventType{B::event}.version;

/// How many of the facts have the name and the version of `One`.
template <class One, class... F>
inline constexpr std::size_t facts_alike = (std::size_t{same_event<One, F>} + ... + 0);

template <class G, class One>
consteval bool leads_on_from()
{
    if constexpr (HasFormer<G>)
        return std::same_as<former_of<G>, One>;
    else
        return false;
}
/// Whether a later version of `One` is there, and none of them says how `One` is read.
template <class One, class... F>
inline constexpr bool is_left_behind = ((EventType{F::event}.name == EventType{One::event}.name &&
                                         EventType{F::event}.version > EventType{One::event}.version) ||
                                        ...) &&
                                       !(leads_on_from<F, One>() || ...);

}  // namespace detail

/// No two of the facts have one name and one version.
template <class... F>
concept DifferentFacts = ((detail::facts_alike<F, F...> == 1) && ...);

/// The `upcast` of each fact takes a fact of the same name and a lower version, and each version but the last
/// one of its name is read by the `upcast` of a later one: no event of the past is left without a reader.
template <class... F>
concept UpcastFromEachVersion =
    (detail::has_sound_upcast<F>() && ...) && (!detail::is_left_behind<F, F...> && ...);

/// The fact of `event`, which is of the version of `F` or of a former one from which `upcast`s lead to `F`.
///
/// `corrupt_state` with both versions in words: there is no way from one to the other, or the version is
/// later than that of `F`; or the bytes are damaged. `invalid_argument`: it is another fact. What an `upcast`
/// throws is thrown, so that a handler which lets it pass has failed with the event.
template <Fact F>
Outcome<F> fact_of(Event const& event)
{
    static_assert(
        detail::has_sound_upcast<F>(),
        "upcast takes one argument, a fact of the same name and a lower version: static F upcast(Old "
        "const&)");
    constexpr EventType type{F::event};
    if (event.type != type.name)
        return Failure{
            Errc::invalid_argument,
            "the event is '" + event.type + "', not '" + std::string(type.name) + "'"};
    if (event.version == type.version) {
        if (auto fact = event.as<F>())
            return *std::move(fact);
        return Failure{
            Errc::corrupt_state, "the bytes of an event '" + event.type + "', version " +
                                     std::to_string(event.version) + ", are no such fact: id " + event.id};
    }
    if constexpr (detail::HasFormer<F>) {
        if (event.version < type.version) {
            auto former = fact_of<detail::former_of<F>>(event);
            if (!former)
                return std::move(former).failure();
            return F::upcast(*former);
        }
    }
    return Failure{
        Errc::corrupt_state, "an event '" + event.type + "' of version " + std::to_string(event.version) +
                                 " cannot be read as version " + std::to_string(type.version) +
                                 ": no upcast leads from the one to the other"};
}

/// A difference between two contracts.
struct ContractChange {
    std::string fact;  ///< its name and version: `stock.sold 1`
    std::string what;  ///< what is different, in words

    friend bool operator==(ContractChange const&, ContractChange const&) = default;
};

namespace detail {

/// A contract as it was read: the facts by name and version, and what of it was no line of a contract.
struct ReadContract {
    std::map<std::string, std::pair<std::string, Schema>> facts;  // by name and version: as written, as read
    std::vector<ContractChange> unreadable;
};

inline ReadContract read_contract(std::string_view text)
{
    ReadContract read;
    std::istringstream lines{std::string(text)};
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++number;
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        if (line.empty() || line.front() == '#')
            continue;
        auto const name_end = std::min(line.find(' '), line.size());
        auto const version_end = std::min(line.find(' ', name_end + 1), line.size());
        auto const fact = line.substr(0, version_end);
        auto const rest = line.substr(std::min(version_end + 1, line.size()));
        auto schema = rest == "bytes" ? SchemaReader{rest}.whole() : SchemaReader{rest}.members();
        bool const named = is_event_name(std::string_view(line).substr(0, name_end)) &&
                           fact.find_first_not_of("0123456789", name_end + 1) == std::string::npos &&
                           fact.size() > name_end + 1;
        if (!named || !schema || !read.facts.emplace(fact, std::pair{rest, *std::move(schema)}).second)
            read.unreadable.push_back(
                {"line " + std::to_string(number), "is no fact of a contract, or one that was there before"});
    }
    return read;
}

}  // namespace detail

/// What whoever reads or writes by the contract `before` would trip over in `after`; empty: nothing. Facts
/// and members may be added, since who does not know them passes them over, and an added member that is not
/// stored has the value that it has in a default-constructed struct. Everything else is a difference: a fact
/// that is withdrawn, a member that is gone, renamed, of another kind, narrower or wider, or that became
/// optional or ceased to be. What is no line of a contract is one, too.
inline std::vector<ContractChange> compare_contracts(std::string_view before, std::string_view after)
{
    auto const old = detail::read_contract(before);
    auto const now = detail::read_contract(after);
    auto changes = old.unreadable;
    changes.insert(changes.end(), now.unreadable.begin(), now.unreadable.end());
    for (auto const& [fact, schema] : old.facts) {
        auto const it = now.facts.find(fact);
        if (it == now.facts.end())
            changes.push_back({fact, "is withdrawn, and events of it may still be stored"});
        else
            detail::compare_schemas(
                std::string{}, schema.second, it->second.second,
                [&, &name = fact](std::string what) { changes.push_back({name, std::move(what)}); });
    }
    return changes;
}

/// The facts that a service says, in all versions that are still stored or read. It is only a list: nothing
/// of it is ever made.
template <Fact... F>
    requires DifferentFacts<F...> && UpcastFromEachVersion<F...>
struct Contract {
    /// A line for each fact, sorted: its name, its version and its members,
    /// `stock.sold 1 sku:text quantity:int32 note:optional<text>`. Members have the names that they are
    /// stored by, see `MemberHistory`. A fact with a stored form of its own is `bytes`: its author answers
    /// for it.
    static std::string text()
    {
        std::map<std::pair<std::string, int>, std::string> lines;
        (lines.emplace(
             std::pair{std::string(EventType{F::event}.name), EventType{F::event}.version}, line<F>()),
         ...);
        std::string all;
        for (auto const& entry : lines)
            all += entry.second;
        return all;
    }

    /// For a test: what is different between the file, which is under version control, and these facts. First
    /// what breaks it (`compare_contracts`), then what was added and is not written down yet. Empty: the file
    /// is this contract. To write it, store `text()` there.
    static std::vector<ContractChange> check_against(std::string const& path)
    {
        std::ifstream file{path, std::ios::binary};
        file.peek();  // of a folder it is this that fails
        if (!file.is_open() || file.bad())
            return {{path, "cannot be read: store text() there, and keep it under version control"}};
        std::string const before{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
        auto changes = compare_contracts(before, text());
        if (!changes.empty())
            return changes;
        auto const written = detail::read_contract(before);
        for (auto const& [fact, schema] : detail::read_contract(text()).facts) {
            auto const it = written.facts.find(fact);
            if (it == written.facts.end())
                changes.push_back({fact, "is new, and the file does not have it yet: store text() there"});
            else if (it->second.first != schema.first)
                changes.push_back(
                    {fact, "has changed as it may, and the file does not say so yet: store text() there"});
        }
        return changes;
    }

private:
    template <class One>
    static std::string line()
    {
        std::string text =
            std::string(EventType{One::event}.name) + " " + std::to_string(EventType{One::event}.version);
        if constexpr (detail::Described<One> && std::is_base_of_v<DefaultStateTraits<One>, StateTraits<One>>)
            text += detail::schema_of_members<One>();
        else
            text += " bytes";
        return text + "\n";
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_CONTRACT_HPP
