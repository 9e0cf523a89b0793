// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_PATTERNS_CLOUD_EVENTS_HPP
#define INTERLOCK_PATTERNS_CLOUD_EVENTS_HPP

/// @file
/// Events in the envelope that brokers and other languages know: CloudEvents 1.0, as JSON.
///
///     using Facts = interlock::Contract<Sold, Reordered>;
///     auto const json = interlock::to_cloud_event<Facts>(event, "https://shop.example/stock").value();
///     producer.send(json);
///     // elsewhere
///     auto const received = interlock::from_cloud_event<Facts>(json).value();
///     inbox.handle(received.event, sku, [&](Shipment& shipment) { ... });
///
/// | attribute | from |
/// |---|---|
/// | `id`, `type` | id and type of the event |
/// | `source` | what the caller says: who sends, as a URI |
/// | `subject`, `partitionkey` | the stream; `streambase64` where the key is no text |
/// | `time` | when it was stored, where the store has a clock |
/// | `eventversion` | the version of the fact |
/// | `sequence` | the number in the stream, with zeros in front, so that texts are in its order |
/// | `correlationid`, `causationid`, `traceparent` | the cause, as far as there is one |
/// | `data` | the fact as a JSON object, where the contract has it; else its bytes in `data_base64` |
///
/// Integers are written as JSON numbers. A reader in a language that has no others than floating-point
/// numbers loses the last digits of those above 2^53: make such a member a text. An integer that is received
/// has neither a fraction nor an exponent: `3.0` and `3e0` are refused, since a sender that writes them has
/// rounded perhaps.

#include <interlock/core/codec/json.hpp>
#include <interlock/core/event.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/state_traits.hpp>
#include <interlock/patterns/contract.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace interlock {
inline namespace v0 {

/// An event that came in an envelope. It has no partition and no position: those were the sender's.
struct CloudEvent {
    Event event;
    /// Who sent it. Ids are told apart within one source: whoever hears from several has an inbox for each.
    std::string source;
};

namespace detail {

/// Whether `text` may be the value of an attribute: UTF-8 without control characters, those from U+0080 to
/// U+009F too, and without what Unicode says is no character: U+FDD0 to U+FDEF, and the last two of each
/// plane.
inline bool is_attribute(std::string_view text) noexcept
{
    if (!is_utf8(text))
        return false;
    auto const byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const first = byte(i);
        if (first < 0x20 || first == 0x7f || (first == 0xc2 && byte(i + 1) < 0xa0))
            return false;
        bool const last_of_64 = first >= 0xef && byte(i + (first == 0xef ? 1 : 2)) == 0xbf;
        bool const of_last_row = first == 0xef || (first >= 0xf0 && (byte(i + 1) & 0x0fU) == 0x0f);
        if (last_of_64 && of_last_row && byte(i + (first == 0xef ? 2 : 3)) >= 0xbe)
            return false;
        if (first == 0xef && byte(i + 1) == 0xb7 && byte(i + 2) >= 0x90 && byte(i + 2) <= 0xaf)
            return false;
    }
    return true;
}

/// Whether RFC 3339 has a form for `at`: its years have four digits.
inline bool has_timestamp(std::chrono::sys_time<std::chrono::microseconds> at) noexcept
{
    using namespace std::chrono;
    return at >= sys_days{year{0} / 1 / 1} && at < sys_days{year{10000} / 1 / 1};
}

/// RFC 3339, in UTC. Precondition: `has_timestamp`.
inline std::string timestamp(std::chrono::sys_time<std::chrono::microseconds> at)
{
    auto const day = std::chrono::floor<std::chrono::days>(at);
    std::chrono::year_month_day const date{day};
    std::chrono::hh_mm_ss const time{at - day};
    std::string out;
    auto const add = [&](std::int64_t number, std::size_t width, char const* behind) {
        auto const digits = std::to_string(number);
        out.append(width - std::min(width, digits.size()), '0').append(digits).append(behind);
    };
    add(static_cast<int>(date.year()), 4, "-");
    add(static_cast<unsigned>(date.month()), 2, "-");
    add(static_cast<unsigned>(date.day()), 2, "T");
    add(time.hours().count(), 2, ":");
    add(time.minutes().count(), 2, ":");
    add(time.seconds().count(), 2, ".");
    add(time.subseconds().count(), 6, "Z");
    return out;
}

/// Reads RFC 3339, to the microsecond.
class TimestampReader {
public:
    explicit TimestampReader(std::string_view text) noexcept : text_(text) {}

    std::optional<std::chrono::sys_time<std::chrono::microseconds>> read()
    {
        using namespace std::chrono;
        int const of_year = number(4);
        int const of_month = number(2, "-");
        int const of_day = number(2, "-");
        auto const date =
            year{of_year} / month{static_cast<unsigned>(of_month)} / day{static_cast<unsigned>(of_day)};
        int const hour = number(2, "Tt ");
        int const minute = number(2, ":");
        int const second = number(2, ":");
        auto const fraction = fraction_of_second();
        auto const offset = offset_from_utc();
        if (!good_ || !text_.empty() || !date.ok() || hour > 23 || minute > 59 || second > 60)
            return std::nullopt;
        return sys_days{date} + hours{hour} + minutes{minute} + seconds{second} + fraction - offset;
    }

private:
    bool take(std::string_view one_of) noexcept
    {
        if (text_.empty() || one_of.find(text_.front()) == std::string_view::npos)
            return false;
        text_.remove_prefix(1);
        return true;
    }
    int number(std::size_t width, std::string_view after = {}) noexcept
    {
        int value = 0;
        good_ = good_ && (after.empty() || take(after)) && text_.size() >= width;
        for (std::size_t i = 0; good_ && i < width; ++i)
            good_ = digit(value);
        return value;
    }
    bool digit(int& value) noexcept
    {
        if (text_.empty() || text_.front() < '0' || text_.front() > '9')
            return false;
        value = 10 * value + (text_.front() - '0');
        text_.remove_prefix(1);
        return true;
    }
    std::chrono::microseconds fraction_of_second() noexcept
    {
        int value = 0;
        if (!take("."))
            return {};
        good_ = good_ && digit(value);
        int digits = 1;
        for (int beyond = 0; digits < 6 ? digit(value) : digit(beyond); beyond = 0)
            ++digits;
        for (; digits < 6; ++digits)
            value *= 10;
        return std::chrono::microseconds{value};
    }
    std::chrono::minutes offset_from_utc() noexcept
    {
        if (take("Zz"))
            return {};
        bool const behind = text_.starts_with('-');
        int const hours = number(2, "+-");
        int const minutes = number(2, ":");
        good_ = good_ && hours < 24 && minutes < 60;
        return std::chrono::minutes{(behind ? -1 : 1) * (60 * hours + minutes)};
    }

    std::string_view text_;
    bool good_{true};
};

/// The facts of a contract.
template <class C>
struct FactsOf;
template <class... F>
struct FactsOf<Contract<F...>> {
    /// Appends the fact as JSON. False: it is none of these, or there is no JSON for it.
    static bool append(std::string& out, Event const& event) { return (append_as<F>(out, event) || ...); }
    /// Whether it is one of these that is written as JSON.
    static bool knows(Event const& event) noexcept { return (is_one<F>(event) || ...); }
    /// The bytes that the fact is stored as. Nothing: it is none of these, or not as the contract says.
    static std::optional<std::string> bytes(Event const& event, Json const& data)
    {
        std::optional<std::string> found;
        static_cast<void>((bytes_as<F>(found, event, data) || ...));
        return found;
    }

private:
    template <class One>
    static constexpr bool as_json =
        Described<One> && std::is_base_of_v<DefaultStateTraits<One>, StateTraits<One>>;

    template <class One>
    static bool is_one(Event const& event) noexcept
    {
        return as_json<One> && event.template is<One>() && event.version == EventType{One::event}.version;
    }
    template <class One>
    static bool append_as([[maybe_unused]] std::string& out, [[maybe_unused]] Event const& event)
    {
        if constexpr (as_json<One>) {
            auto const fact = event.template as<One>();
            auto const before = out.size();
            if (fact && append_json(out, *fact))
                return true;
            out.resize(before);
        }
        return false;
    }
    template <class One>
    static bool bytes_as(
        [[maybe_unused]] std::optional<std::string>& found, [[maybe_unused]] Event const& event,
        [[maybe_unused]] Json const& data)
    {
        if constexpr (as_json<One>) {
            One fact{};
            if (is_one<One>(event) && read_json(data, fact, WholeNumbers::digits))
                StateTraits<One>::encode(fact, found.emplace());
        }
        return found.has_value();
    }
};

inline Failure no_cloud_event(std::string const& why)
{
    return Failure{Errc::invalid_argument, "this is no CloudEvent: " + why};
}

/// The number, not below 0, that `text` is as a whole. Nothing: it is none, or too large.
template <class Number>
std::optional<Number> whole_number(std::string_view text) noexcept
{
    Number number{};
    auto const* const last = text.data() + text.size();
    auto const end = std::from_chars(text.data(), last, number);
    if (end.ptr != last || end.ec != std::errc{} || number < 0)
        return std::nullopt;
    return number;
}

/// The attributes of an envelope that is read.
class EnvelopeReader {
public:
    explicit EnvelopeReader(Json const& json) noexcept : json_(json) {}

    /// The attribute. Null: there is none; JSON's null says the same.
    Json const* find(std::string_view name) const noexcept
    {
        auto const* const found = json_.find(name);
        return found != nullptr && found->kind != Json::Kind::null ? found : nullptr;
    }
    /// The text of an attribute; empty where there is none.
    std::string text(std::string_view name)
    {
        auto const* const found = find(name);
        if (found == nullptr)
            return {};
        if (found->kind != Json::Kind::text && found->kind != Json::Kind::number)
            is_wrong(name);
        return found->text;
    }
    std::string required(std::string_view name)
    {
        auto found = text(name);
        if (found.empty())
            is_wrong(name);
        return found;
    }
    /// A number that was written as a number or as a text; `missing` where there is none.
    template <class Number>
    Number number(std::string_view name, Number missing)
    {
        auto const found = text(name);
        if (found.empty())
            return missing;
        auto const value = whole_number<Number>(found);
        if (!value)
            is_wrong(name);
        return value.value_or(missing);
    }
    std::string bytes(std::string_view name)
    {
        auto decoded = from_base64(text(name));
        if (!decoded)
            is_wrong(name);
        return std::move(decoded).value_or("");
    }
    /// The first one that is wrong is named.
    void is_wrong(std::string_view name)
    {
        if (wrong_.empty())
            wrong_ = name;
    }
    std::string const& wrong() const noexcept { return wrong_; }

private:
    Json const& json_;
    std::string wrong_;
};

}  // namespace detail

/// `event` as a CloudEvent in JSON, its data as JSON if it is a fact of the contract `C`; without one, and
/// where a text of the fact is no UTF-8 or a number no number, as base64.
///
/// `invalid_argument`: `source` is empty, or no text; the id, the type or the cause of the event holds what
/// no attribute may (control characters, or bytes that are no UTF-8); its time is not of the years 0 to 9999;
/// or its version is below 1.
template <class C = Contract<>>
Outcome<std::string> to_cloud_event(Event const& event, std::string_view source)
{
    std::string out = "{\"specversion\":\"1.0\"";
    std::string_view wrong;
    auto const add = [&](std::string_view name, std::string_view value, bool required = false) {
        if (!detail::is_attribute(value) || (required && value.empty()))
            wrong = name;
        if (value.empty())
            return;
        out.append(",\"").append(name).append("\":");
        detail::append_json_text(out, value);
    };
    add("id", event.id, true);
    add("source", source, true);
    add("type", event.type, true);
    auto const stream = event.stream.bytes();
    if (detail::is_attribute(stream)) {
        add("subject", stream);
        add("partitionkey", stream);
    } else {
        add("streambase64", detail::to_base64(stream));
        add("partitionkey", detail::to_base64(stream));
    }
    if (!detail::has_timestamp(event.recorded_at))
        wrong = "time";
    else if (event.recorded_at.time_since_epoch().count() != 0)
        add("time", detail::timestamp(event.recorded_at));
    if (event.version < 1)
        wrong = "version";
    out += ",\"eventversion\":" + std::to_string(event.version);
    if (auto const number = std::to_string(event.number); event.number > 0)
        add("sequence", std::string(19 - std::min<std::size_t>(19, number.size()), '0') + number);
    add("correlationid", event.because.correlation);
    add("causationid", event.because.cause);
    add("traceparent", event.because.traceparent);
    if (!wrong.empty())
        return Failure{
            Errc::invalid_argument, "the event cannot be sent as a CloudEvent: its " + std::string(wrong) +
                                        " is missing, or is nothing that an attribute may hold"};
    std::string data;
    if (detail::FactsOf<C>::append(data, event)) {
        out += ",\"datacontenttype\":\"application/json\",\"data\":" + data + "}";
    } else {
        add("datacontenttype", "application/octet-stream");
        out += ",\"data_base64\":\"" + detail::to_base64(event.data) + "\"}";
    }
    return out;
}

/// The event in a CloudEvent, whoever has written it. Data in JSON become the bytes of a fact if they are a
/// fact of the contract `C`: members that the fact does not have are passed over, and one that is missing has
/// its default. Other data in JSON, and a text, stay what they are: bytes that are no fact. A `sequence` that
/// is no number of this library's is passed over, and null is an attribute that is not there.
///
/// `invalid_argument`, in words: it is no JSON, or larger than four times `max_event_bytes`; an attribute
/// that must be there is not, or is of another kind; the type is no name of an event; the data are there
/// twice, as JSON and as base64; or the data are a fact by their name and are not as its contract says.
template <class C = Contract<>>
Outcome<CloudEvent> from_cloud_event(std::string_view json)
{
    if (json.size() > 4 * max_event_bytes)
        return detail::no_cloud_event("it has " + std::to_string(json.size()) + " bytes");
    auto const read = detail::JsonReader{json}.read();
    if (!read || read->kind != detail::Json::Kind::object)
        return detail::no_cloud_event("it is no JSON object");
    detail::EnvelopeReader envelope{*read};
    if (envelope.text("specversion") != "1.0")
        envelope.is_wrong("specversion");
    CloudEvent cloud;
    auto& event = cloud.event;
    cloud.source = envelope.required("source");
    event.id = envelope.required("id");
    event.type = envelope.required("type");
    event.version = envelope.number("eventversion", 1);
    if (!detail::is_event_name(event.type))
        envelope.is_wrong("type");
    if (event.version < 1)
        envelope.is_wrong("eventversion");
    auto const subject = envelope.text("subject");
    auto const encoded = envelope.bytes("streambase64");
    event.stream =
        Key{!subject.empty()   ? subject
            : !encoded.empty() ? encoded
                               : envelope.text("partitionkey")};
    // A sequence of another form is its sender's, and says no number in a stream.
    event.number = detail::whole_number<std::int64_t>(envelope.text("sequence")).value_or(0);
    event.because = {
        envelope.text("correlationid"), envelope.text("causationid"), envelope.text("traceparent")};
    if (auto const time = envelope.text("time"); !time.empty()) {
        auto const at = detail::TimestampReader{time}.read();
        if (!at)
            envelope.is_wrong("time");
        event.recorded_at = at.value_or(event.recorded_at);
    }
    bool const as_base64 = envelope.find("data_base64") != nullptr;
    if (auto const* const data = read->find("data");
        data != nullptr && !(as_base64 && data->kind == detail::Json::Kind::null)) {
        if (as_base64)
            envelope.is_wrong("data_base64");  // one of the two, and nobody could tell which
        auto bytes = detail::FactsOf<C>::bytes(event, *data);
        if (!bytes && detail::FactsOf<C>::knows(event))
            envelope.is_wrong("data");
        event.data = bytes ? *std::move(bytes) : detail::json_text(*data);
    } else {
        event.data = envelope.bytes("data_base64");
    }
    if (!envelope.wrong().empty())
        return detail::no_cloud_event("'" + envelope.wrong() + "' is missing, or not as it must be");
    return cloud;
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_PATTERNS_CLOUD_EVENTS_HPP
