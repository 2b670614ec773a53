#include "diffusion/forward.h"

#include <memory>

#include "apps/command.h"
#include "apps/output_files.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

struct ForwardOptions {
  CommonOptions common;
  ModelOptions model;
  MixedPrecision mixed_precision = MixedPrecision::no;
  std::string input, output;
};

void run(const ForwardOptions& o) {
  o.common.apply();
  check_output(o.output);
  const auto pipeline = o.model.load(o.common.device(), o.mixed_precision);
  save_safetensors(o.output, forward(*pipeline, load_forward_inputs(o.input)));
}

}  // namespace

void add_forward(CLI::App& app) {
  auto o = std::make_shared<ForwardOptions>();
  CLI::App* command =
      app.add_subcommand("forward", "run a network once on tensors from a file, with gradients if asked");
  o->model.add_to(*command);
  command->add_option("--input", o->input, "safetensors: sample, timestep, class_labels, grad_output")->required();
  command->add_option("--output", o->output, "safetensors: output, grad.sample, grad.<parameter>")->required();
  add_mixed_precision(*command, o->mixed_precision);
  o->common.add_to(*command, false, false);
  command->callback([o] { run(*o); });
}

}  // namespace stipple
