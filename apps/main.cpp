#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>

#include "apps/command.h"
#include "apps/given_flags.h"
#include "kernels/cpu/parallel.h"
#include "tensor/error.h"

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

void add_version(CLI::App& app) {
  app.set_version_flag("--version", "stipple " STIPPLE_VERSION);
  for (CLI::App* command : app.get_subcommands({})) add_version(*command);
}

void check_command(CLI::App& app, const std::string& name) {
  std::string known;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == name) return;
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  stipple::fail_usage("there is no command '{}'; there are {}", name, known);
}

// What was printed must have arrived: a full disk shows at the latest here. Why an earlier write failed is not known.
void flush_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    stipple::fail("cannot write to standard output{}", errno ? fmt::format(": {}", std::strerror(errno)) : "");
}

int run(int argc, char** argv) {
  CLI::App app("stipple: diffusion models trained, fine-tuned and sampled in C++", "stipple");
  app.require_subcommand(1);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  stipple::add_train(app);
  stipple::add_sample(app);
  stipple::add_info(app);
  stipple::add_forward(app);
  stipple::add_data(app);
  stipple::add_convert(app);
  stipple::add_profile(app);
  add_version(app);
  app.parse_complete_callback([&app] { stipple::check_given_flags(app); });
  try {
    if (argc > 1 && argv[1][0] != '-') check_command(app, argv[1]);
    app.parse(with_dashes(argc, argv));
  } catch (const CLI::Success& help_or_version) { app.exit(help_or_version); } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "stipple: %s (--help says more)\n", error.what());
    return 2;
  }
  flush_output();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  stipple::cpu::sleep_when_idle(argv);
  stipple::watch_interrupts();
  try {
    return run(argc, argv);
  } catch (const stipple::Interrupted&) { return 130; } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "stipple: out of memory\n");
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "stipple: %s: %s\n", error.path1().c_str(), error.code().message().c_str());
  } catch (const std::exception& error) { std::fprintf(stderr, "stipple: %s\n", error.what()); }
  return 1;
}
