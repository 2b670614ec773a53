#include "apps/number_flags.h"

#include <charconv>
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

bool is_seed(const std::string& text) {
  uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

CLI::Validator any_number() {
  return numbers("a number", [](double) { return true; });
}
CLI::Validator number_of_0_or_more() {
  return numbers("a number of 0 or more", [](double x) { return x >= 0; });
}
CLI::Validator number_of_0_or_more_or_inf() {
  const auto number = number_of_0_or_more();
  return CLI::Validator([=](std::string& text) { return text == "inf" ? std::string() : number(text); }, "");
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
CLI::Validator seed_number() {
  const auto complaint = [](std::string& text) {
    return is_seed(text) ? std::string() : text + " is not a whole number from 0 to 2^64 - 1";
  };
  return CLI::Validator(complaint, "");
}

}  // namespace stipple
