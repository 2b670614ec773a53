#include <memory>

#include "apps/command.h"
#include "apps/profile_work.h"
#ifdef STIPPLE_EMULATED
#include "apps/profile_table.h"
#include "kernels/cuda/precision.h"
#include "kernels/emulator/emulator.h"
#endif

namespace stipple {
namespace {

struct ProfileCommand {
  std::vector<std::string> operations;
  TrainingStepRequest step;
  std::string dtype = "f32";
  bool lines = false, json = false;
};

#ifdef STIPPLE_EMULATED

std::vector<emulator::KernelCounts> count(const std::function<void()>& work) {
  emulator::set_mode(emulator::Mode::count);
  work();
  emulator::set_mode(emulator::Mode::fast);
  return emulator::take_counts();
}

// A row of JSON or a table a piece of work, as soon as it is done.
void profile(const ProfileCommand& o, const std::string& title, const std::function<void()>& work) {
  const std::vector<emulator::KernelCounts> counts = count(work);
  if (o.json)
    std::printf("%s\n", profile_as_json(title, counts, o.lines).c_str());
  else
    print_profile(title, counts, o.lines);
  std::fflush(stdout);
}

void run(const ProfileCommand& o) {
  check(emulator::can_check(), "profile: this build's kernels do not say what they access: it has sanitizers");
  const auto requests = o.operations.empty() ? default_operations() : parse_operations(o.operations);
  if (!o.json) print_profile_legend();
  const Dtype dtype = o.dtype == "bf16" ? Dtype::bf16 : Dtype::f32;
  cuda::allow_tf32(o.dtype == "tf32");
  if (!o.step.config.empty())
    return profile(o, fmt::format("a training step of {}, batch {}, {}", o.step.config, o.step.batch, o.dtype),
                   prepare(o.step, dtype));
  for (const OperationRequest& r : requests)
    profile(o, fmt::format("{} {}, forward and backward", r.title(), o.dtype), prepare(r, dtype));
}

#else

void run(const ProfileCommand&) {
  fail("profile: this build of stipple has no emulated GPU to count on; ./run build emulated makes one that has");
}

#endif

}  // namespace

void add_profile(CLI::App& app) {
  auto o = std::make_shared<ProfileCommand>();
  CLI::App* command = app.add_subcommand("profile", "what CUDA kernels ask of a GPU, counted without one");
  CLI::Option* operation =
      command
          ->add_option("--operation", o->operations,
                       "an operation and sizes of it, any number of times (default: all): " + describe_operations())
          ->expected(1, -1)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--config", o->step.config, "profile a training step of this U-Net (config.json) instead")
      ->excludes(operation);
  command->add_option("--batch", o->step.batch, "pictures of the step")->check(CLI::Range(1, 1 << 20));
  command->add_option("--height", o->step.height, "of its pictures (default: as the configuration says)");
  command->add_option("--width", o->step.width, "likewise");
  command
      ->add_option("--dtype", o->dtype, "of an operation's tensors, of a step's layers: f32, tf32 (f32 tensors), bf16")
      ->check(CLI::IsMember({"f32", "tf32", "bf16"}))
      ->capture_default_str();
  command->add_flag("--lines", o->lines, "also by line of the source");
  command->add_flag("--json", o->json, "a line of JSON an operation, instead of tables");
  command->callback([o] { run(*o); });
}

}  // namespace stipple
