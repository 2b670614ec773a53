#include "diffusion/forward.h"

#include <algorithm>
#include <array>

#include "tensor/layout.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

constexpr std::array kInputs = {"sample", "timestep", "class_labels", "grad_output"};

Tensor load_images(const SafetensorsFile& file, const char* name) {
  const Tensor images = file.load(name);
  check(images.rank() == 4 && is_floating(images.dtype()), "{}: tensor '{}' is {}, expected f32[N,C,H,W]", file.path(),
        name, describe(images));
  return to_channels_last(images.to(Dtype::f32));
}

// Networks take i64 or f32; a single number is for every image.
Tensor load_timesteps(const SafetensorsFile& file, int64_t batch) {
  const Tensor raw = file.load("timestep");
  const Tensor t = raw.to(is_floating(raw.dtype()) ? Dtype::f32 : Dtype::i64);
  check(t.rank() <= 1 && (t.numel() == batch || t.numel() == 1), "{}: tensor 'timestep' is {}, expected [{}]",
        file.path(), describe(t), batch);
  if (t.numel() == batch) return t.reshape({batch});
  return t.dtype() == Dtype::i64 ? Tensor::full({batch}, static_cast<double>(t.item<int64_t>()), Dtype::i64)
                                 : Tensor::full({batch}, t.item<float>());
}

}  // namespace

ForwardInputs load_forward_inputs(const std::string& path) {
  const SafetensorsFile file(path);
  for (const std::string& name : file.names())
    check(std::find(kInputs.begin(), kInputs.end(), name) != kInputs.end(),
          "{}: tensor '{}' is unknown; known are: sample, timestep, class_labels, grad_output", path, name);
  for (const char* name : {"sample", "timestep"}) check(file.contains(name), "{}: tensor '{}' is missing", path, name);
  ForwardInputs in;
  in.sample = load_images(file, "sample");
  in.timesteps = load_timesteps(file, in.sample.dim(0));
  if (file.contains("class_labels")) in.labels = file.load("class_labels");
  if (file.contains("grad_output")) in.grad_output = load_images(file, "grad_output");
  return in;
}

NamedTensors forward(Pipeline& pipeline, const ForwardInputs& in) {
  const bool differentiate = in.grad_output.defined();
  pipeline.parameters.require_gradients(differentiate);
  const Device device = pipeline.parameters.device();
  const Tensor x = in.sample.to(device);
  const Var sample = differentiate ? leaf(x, "sample") : Var(x);
  const Var y = pipeline.denoiser(sample, in.timesteps.to(device), in.labels.to(device));
  NamedTensors out{{"output", to_channels_first(y.value().to(Device::cpu))}};
  if (!differentiate) return out;
  check(in.grad_output.shape() == y.shape(), "forward: grad_output is {}, the output {}", describe(in.grad_output),
        describe(y.value()));
  backward(y, in.grad_output.to(device));
  pipeline.parameters.complete_gradients();
  out.emplace_back("grad.sample", to_channels_first(sample.gradient().to(Device::cpu)));
  for (auto& [name, gradient] : pipeline.parameters.to_file(pipeline.parameters.gradients()))
    if (pipeline.parameters.find(name).trainable()) out.emplace_back("grad." + name, gradient);
  return out;
}

}  // namespace stipple
