// SPDX-License-Identifier: BSL-1.0

#include "shop.hpp"

#include <fmt/format.h>

#include "options.hpp"

#include <random>

namespace outbox {

bool outlives_the_program(std::string_view url) noexcept
{
    return !url.starts_with("memory:");
}

std::string place_of(std::string const& url)
{
    if (!outlives_the_program(url) || url.find("name_space=") != std::string::npos)
        return url;
    auto const mark = url.find('?') == std::string::npos ? '?' : '&';
    return fmt::format("{}{}name_space=outbox_{:08x}", url, mark, std::random_device{}());
}

std::unique_ptr<Shop> open_shop(std::string const& place, bool careless)
{
    if (!outlives_the_program(place))
        return shop_on_memory(careless);
    if (place.starts_with("postgres")) {
#ifdef OUTBOX_POSTGRES
        return shop_on_postgres(place, careless);
#endif
    } else {
#ifdef OUTBOX_REDIS
        return shop_on_redis(place, careless);
#endif
    }
    throw BadOption(
        "--backend: this program was built without that store, since its client is not installed");
}

}  // namespace outbox
