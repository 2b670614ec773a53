#include "diffusion/start_noise.h"

#include <algorithm>
#include <cmath>

#include "diffusion/schedulers/prediction.h"
#include "tensor/layout.h"
#include "tensor/random.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

Shape channels_first(const Shape& nhwc) { return {nhwc[0], nhwc[3], nhwc[1], nhwc[2]}; }

Tensor load_noise(const SafetensorsFile& file, const std::string& name, const Shape& shape) {
  check(file.contains(name), "{}: tensor '{}' is needed and missing", file.path(), name);
  const Tensor noise = file.load(name);
  check(noise.shape() == channels_first(shape), "{}: tensor '{}' is {}, expected f32{}", file.path(), name,
        describe(noise), to_string(channels_first(shape)));
  return to_channels_last(noise.to(Dtype::f32));
}

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += static_cast<double>(a.data<float>()[i]) * b.data<float>()[i];
  return sum;
}

Tensor repeated(const Tensor& image, int64_t n) {
  Tensor images({n, image.dim(1), image.dim(2), image.dim(3)}, image.dtype());
  for (int64_t i = 0; i < n; ++i) images.slice(i, i + 1).copy_from(image);
  return images;
}

}  // namespace

BatchNoise seeded_noise(const std::string& rng, const std::vector<uint64_t>& seeds, const Shape& shape) {
  auto generators = std::make_shared<std::vector<std::unique_ptr<Generator>>>();
  for (uint64_t seed : seeds) generators->push_back(make_generator(rng, seed));
  NoiseSource draw = [generators](const Shape& nhwc) {
    return to_channels_last(normal_per_image(*generators, channels_first(nhwc)));
  };
  return {draw(shape), draw};
}

BatchNoise interpolated_noise(const std::string& rng, uint64_t from, uint64_t to, const std::vector<double>& at,
                              const Shape& shape) {
  const Shape one{1, shape[1], shape[2], shape[3]};
  const BatchNoise a = seeded_noise(rng, {from}, one), b = seeded_noise(rng, {to}, one);
  Tensor start(shape);
  for (int64_t n = 0; n < shape[0]; ++n) start.slice(n, n + 1).copy_from(slerp(a.start, b.start, at[n]));
  return {start, [draw = a.steps, one](const Shape& nhwc) { return repeated(draw(one), nhwc[0]); }};
}

Tensor slerp(const Tensor& a, const Tensor& b, double t) {
  const double angle = std::acos(std::clamp(dot(a, b) / std::sqrt(dot(a, a) * dot(b, b)), -1.0, 1.0));
  if (std::sin(angle) < 1e-6) return weighted_sum(1 - t, a, t, b);
  return weighted_sum(std::sin((1 - t) * angle) / std::sin(angle), a, std::sin(t * angle) / std::sin(angle), b);
}

BatchNoise noise_from_file(const std::string& path, const Shape& shape, std::shared_ptr<int64_t> step) {
  auto file = std::make_shared<SafetensorsFile>(path);
  return {load_noise(*file, "noise", shape),
          [file, step](const Shape& s) { return load_noise(*file, fmt::format("noise.{:03}", *step), s); }};
}

int64_t noise_count(const std::string& noise_file) {
  const SafetensorsFile file(noise_file);
  check(file.contains("noise"), "{}: tensor 'noise' is missing", noise_file);
  check(file.shape("noise").rank() == 4, "{}: tensor 'noise' is {}, expected [N,C,H,W]", noise_file,
        to_string(file.shape("noise")));
  return file.shape("noise")[0];
}

}  // namespace stipple
