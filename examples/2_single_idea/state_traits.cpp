// SPDX-License-Identifier: BSL-1.0

// Shows a state whose key and stored form are one's own: a class with private members, a key made of two
// parts, a text format.
// Needs: nothing.
// Run with: state_traits

#include <interlock/interlock.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace il = interlock;

/// Seats left in one class of one flight. Not described: the library knows of it only what is said below.
class Cabin {
public:
    Cabin() = default;
    Cabin(std::string flight, int cls, int seats) : flight_(std::move(flight)), class_(cls), seats_(seats) {}
    std::string const& flight() const { return flight_; }
    int cls() const { return class_; }
    int seats() const { return seats_; }
    void book() { --seats_; }

private:
    std::string flight_;
    int class_{0};
    int seats_{0};
};

template <>
struct interlock::StateTraits<Cabin> {
    // What decides which operations conflict. Each part is stored with its length, so no two keys run into
    // each other.
    using key_type = std::pair<std::string, int>;
    static key_type key(Cabin const& cabin) { return {cabin.flight(), cabin.cls()}; }

    // What a remote store keeps. Ours to define, so ours to keep readable by the next version of this
    // program.
    static void encode(Cabin const& cabin, std::string& out)
    {
        out += fmt::format("{} {} {}", cabin.cls(), cabin.seats(), cabin.flight());
    }
    static std::optional<Cabin> decode(std::string_view bytes)
    {
        int numbers[2] = {};
        for (int& number : numbers) {
            auto const end = std::from_chars(bytes.data(), bytes.data() + bytes.size(), number);
            if (end.ec != std::errc{} || end.ptr == bytes.data() + bytes.size() || *end.ptr != ' ')
                return std::nullopt;  // the library reports `corrupt_state`
            bytes.remove_prefix(static_cast<std::size_t>(end.ptr - bytes.data()) + 1);
        }
        return Cabin{std::string(bytes), numbers[0], numbers[1]};
    }
};
static_assert(il::KeyedState<Cabin> && il::StorableState<Cabin>);

void check(bool ok)  // like assert, but in release builds, too
{
    if (!ok)
        std::abort();
}

int main()
{
    il::memory::StateRepository<Cabin> cabins;
    il::TransactionService service{il::PessimisticRowLock{}, cabins};
    cabins.insert(Cabin{"LH 400", 1, 8}).value();
    cabins.insert(Cabin{"LH 400", 2, 200}).value();

    service.do_in_transaction(std::pair{"LH 400", 2}, [](Cabin& cabin) { cabin.book(); });
    check(cabins.load(std::pair{"LH 400", 1}).value().value.seats() == 8);
    check(cabins.load(std::pair{"LH 400", 2}).value().value.seats() == 199);

    // Because it can be stored, it can also be the answer of an operation that is executed once.
    auto const snapshot = [](Cabin& cabin) {
        cabin.book();
        return cabin;
    };
    il::OperationId const booking{"booking-1"};
    auto const first = service.do_in_transaction(booking, std::pair{"LH 400", 1}, snapshot);
    auto const again = service.do_in_transaction(booking, std::pair{"LH 400", 1}, snapshot);
    fmt::print("{} seats left, and {} when asked again\n", first.seats(), again.seats());
    check(first.seats() == 7 && again.seats() == 7);

    std::string bytes;
    il::StateTraits<Cabin>::encode(first, bytes);
    check(bytes == "1 7 LH 400" && !il::StateTraits<Cabin>::decode("1 seven LH 400"));
}
