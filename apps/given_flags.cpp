#include "apps/given_flags.h"

#include "apps/command.h"

namespace stipple {
namespace {

// Some flags may do without a value.
void check_value(const CLI::Option& option) {
  if (option.get_expected_min() == 0) return;
  for (const std::string& value : option.results())
    if (value.empty()) fail_usage("{}: its value is empty", option.get_name());
}

}  // namespace

void check_given_flags(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    check_value(*option);
    const bool takes_several = option->get_items_expected_max() > 1;
    if (option->count() > 1 && !takes_several)
      print_notices({fmt::format("{} is given {} times; the last counts", option->get_name(), option->count())});
  }
  for (const CLI::App* command : app.get_subcommands()) check_given_flags(*command);
}

}  // namespace stipple
