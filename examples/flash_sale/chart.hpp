// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_EXAMPLES_FLASH_SALE_CHART_HPP
#define INTERLOCK_EXAMPLES_FLASH_SALE_CHART_HPP

// A sale as a picture, which a browser opens.

#include "report.hpp"

#include <string>
#include <vector>

namespace flash_sale {

/// An SVG: per policy what was sold, refused and oversold, and how long customers waited.
std::string chart_of(std::vector<Summary> const& summaries, Options const& options);

}  // namespace flash_sale

#endif  // INTERLOCK_EXAMPLES_FLASH_SALE_CHART_HPP
