#include <cstdio>
#include <exception>

#include "apps/command.h"

// Exit status: 0 success, 1 error, 2 wrong usage, 130 interrupted.

namespace {

// Flags may be written with underscores, as in diffusers' scripts.
std::vector<std::string> with_dashes(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin(), argument.begin() + end, '_', '-');
  }
  std::reverse(arguments.begin(), arguments.end());  // the order CLI11 takes them in
  return arguments;
}

int run(int argc, char** argv) {
  CLI::App app("stipple: diffusion models trained, fine-tuned and sampled in C++", "stipple");
  app.set_version_flag("--version", "stipple " STIPPLE_VERSION);
  app.require_subcommand(1);
  stipple::add_train(app);
  stipple::add_sample(app);
  stipple::add_info(app);
  stipple::add_forward(app);
  stipple::add_data(app);
  for (CLI::App* command : app.get_subcommands({})) command->set_version_flag("--version", "stipple " STIPPLE_VERSION);
  try {
    app.parse(with_dashes(argc, argv));
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "stipple: %s (--help says more)\n", error.what());
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  stipple::watch_interrupts();
  try {
    return run(argc, argv);
  } catch (const stipple::Interrupted&) {
    return 130;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "stipple: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stipple: %s\n", error.what());
  }
  return 1;
}
