#include "apps/number_flags.h"

#include <cmath>

namespace stipple {
namespace {

CLI::Validator numbers(const std::string& allowed, bool (*good)(double)) {
  const auto complaint = [=](std::string& text) {
    double x = 0;
    const bool fine = CLI::detail::lexical_cast(text, x) && std::isfinite(x) && good(x);
    return fine ? std::string() : text + " is not " + allowed;
  };
  return CLI::Validator(complaint, "");
}

}  // namespace

CLI::Validator any_number() {
  return numbers("a number", [](double) { return true; });
}
CLI::Validator number_of_0_or_more() {
  return numbers("a number of 0 or more", [](double x) { return x >= 0; });
}
CLI::Validator number_above_0() {
  return numbers("a number above 0", [](double x) { return x > 0; });
}
CLI::Validator number_from_0_to_1() {
  return numbers("a number from 0 to 1", [](double x) { return x >= 0 && x <= 1; });
}
CLI::Validator number_from_0_to_below_1() {
  return numbers("a number from 0 to below 1", [](double x) { return x >= 0 && x < 1; });
}

}  // namespace stipple
