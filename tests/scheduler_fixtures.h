#pragma once
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autograd/ops/arithmetic.h"
#include "diffusion/sampling.h"
#include "diffusion/schedulers/prediction.h"
#include "kernels/arithmetic.h"
#include "tensor/layout.h"
#include "tensor/random.h"
#include "tensor/safetensors.h"
#include "tests/catch.h"

// What the tests of schedulers share: the image and the network of diffusers' own tests, and the fixtures.

namespace stipple {

// The image that diffusers' own scheduler tests start from: [4,3,8,8] with value (((c*8 + h)*8 + w)*4 + b) / 768.
inline Tensor ramp() {
  Tensor image({4, 3, 8, 8}, Dtype::f64);
  double* to = image.mutable_data<double>();
  for (int64_t b = 0; b < 4; ++b)
    for (int64_t i = 0; i < 192; ++i) to[b * 192 + i] = static_cast<double>(i * 4 + b) / 768;
  return to_channels_last(image);
}

// Its values in the reverse order of (c, h, w, b), which is 767/768 - value.
inline Tensor reversed_ramp() { return kernels::affine(ramp(), -1, 767.0 / 768); }

inline Var toy_network(const Var& x, double t) { return affine(x, t / (t + 1), 0); }

inline double sum_of_magnitudes(const Tensor& x) {
  double sum = 0;
  for (double v : x.to_vector<double>()) sum += std::abs(v);
  return sum;
}

inline double walk(Sampler& sampler, const NoiseSource& noise = nullptr) {
  return sum_of_magnitudes(sample(sampler, toy_network, ramp(), noise));
}

inline NoiseSource torch_noise(uint64_t seed) {
  std::shared_ptr<Generator> generator = make_generator("torch", seed);
  return [generator](const Shape& nhwc) {
    const Tensor nchw = normal(*generator, {nhwc[0], nhwc[3], nhwc[1], nhwc[2]});
    return to_channels_last(nchw).to(Dtype::f64);
  };
}

inline double norm(const Tensor& x) {
  const auto v = x.to(Dtype::f64).to_vector<double>();
  return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
}

inline double distance(const Tensor& a, const Tensor& b) { return norm(kernels::binary(Binary::subtract, a, b)); }

inline double relative_distance(const Tensor& got, const Tensor& expected) {
  return distance(got, expected) / norm(expected);
}

inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "nothing was thrown";
}

inline bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// tests/fixtures/schedulers.{json,safetensors}; their script says what is in them.
struct SchedulerFixtures {
  nlohmann::json cases;
  SafetensorsFile tensors{STIPPLE_FIXTURES "/schedulers.safetensors"};

  SchedulerFixtures() { std::ifstream(STIPPLE_FIXTURES "/schedulers.json") >> cases; }

  Tensor image(const std::string& name, Dtype dtype) const { return to_channels_last(tensors.load(name)).to(dtype); }
};

}  // namespace stipple
