#pragma once
#include <CLI/CLI.hpp>

// What a flag of a number allows. CLI11's own ranges let "nan" pass and name bounds of 300 digits; these refuse
// whatever is not finite.

namespace stipple {

CLI::Validator any_number();
CLI::Validator number_of_0_or_more();
CLI::Validator number_of_0_or_more_or_inf();
CLI::Validator number_above_0();
CLI::Validator number_from_0_to_1();
CLI::Validator number_from_0_to_below_1();
CLI::Validator seed_number();  // CLI11 itself takes -1 and 2^64 for 2^64 - 1

}  // namespace stipple
