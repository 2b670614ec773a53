#include "tensor/random.h"

#include <cmath>
#include <numeric>

#include "kernels/cpu/parallel.h"
#include "tensor/philox.h"
#include "tests/catch.h"

namespace stipple {
namespace {

using Expected = std::vector<double>;

template <typename T>
void check_close(const std::vector<T>& got, const Expected& expected) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(expected[i]).epsilon(sizeof(T) == 4 ? 2e-6 : 1e-13));
}

// The mean of (x - mean)^power over the numbers, in double.
double moment(const std::vector<float>& x, double mean, int power) {
  return std::accumulate(x.begin(), x.end(), 0.0,
                         [=](double sum, float v) { return sum + std::pow(v - mean, power); }) /
         x.size();
}

std::vector<float> normals(Generator& generator, int64_t n) { return normal(generator, {n}).to_vector<float>(); }

void check_words(philox::Words got, const std::vector<uint32_t>& expected) {
  CHECK(std::vector<uint32_t>(got.lane, got.lane + 4) == expected);
}

}  // namespace

TEST_CASE("philox gives the known answers of Random123", "[random]") {
  check_words(philox::bijection({{0, 0, 0, 0}}, 0, 0), {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check_words(philox::bijection({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u), {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_words(philox::bijection({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("our logarithm agrees with the library's", "[random]") {
  double worst = 0;
  for (uint32_t bits = 0x2F000000; bits <= 0x3F800000; bits += 997) {  // 2^-33 to 1
    const float x = std::bit_cast<float>(bits);
    const double exact = std::log(double{x});
    if (exact != 0) worst = std::max(worst, std::abs(philox::log(x) / exact - 1));
  }
  CHECK(worst < 1.2e-7);
  CHECK(philox::log(1.f) == 0);
}

TEST_CASE("our sine and cosine agree with the library's", "[random]") {
  double worst = 0;
  for (uint64_t turns = 0; turns < uint64_t{1} << 32; turns += 4999) {
    const philox::SinCos ours = philox::sincos_of_turns(static_cast<uint32_t>(turns));
    const double angle = 2 * M_PI * turns * 0x1p-32;
    worst = std::max({worst, std::abs(ours.sin - std::sin(angle)), std::abs(ours.cos - std::cos(angle))});
  }
  CHECK(worst < 1.2e-7);
  CHECK(philox::sincos_of_turns(0).cos == 1);
  CHECK(philox::sincos_of_turns(1u << 31).cos == -1);
}

TEST_CASE("normals are the same bits on every machine", "[random]") {
  PhiloxGenerator generator(1234);  // FNV-1a over the words
  uint64_t digest = 0xcbf29ce484222325;
  for (float x : normals(generator, 100003)) digest = (digest ^ std::bit_cast<uint32_t>(x)) * 0x100000001b3;
  CHECK(digest == 0x8d2e874280087a92);
}

TEST_CASE("normals have the moments of the normal distribution", "[random]") {
  for (const char* name : {"philox", "torch"}) {
    const auto generator = make_generator(name, 3);
    const std::vector<float> x = normals(*generator, 1 << 20);
    const double mean = moment(x, 0, 1), variance = moment(x, mean, 2);
    INFO(name);
    CHECK(std::abs(mean) < 4e-3);  // four standard errors each
    CHECK(variance == Approx(1).margin(6e-3));
    CHECK(moment(x, mean, 3) == Approx(0).margin(0.01));
    CHECK(moment(x, mean, 4) / (variance * variance) == Approx(3).margin(0.02));
    CHECK(*std::max_element(x.begin(), x.end()) > 4);
  }
}

TEST_CASE("uniforms fill the unit interval evenly", "[random]") {
  for (const char* name : {"philox", "torch"}) {
    const auto generator = make_generator(name, 5);
    const std::vector<float> x = uniform(*generator, {1 << 18}).to_vector<float>();
    INFO(name);
    CHECK(*std::min_element(x.begin(), x.end()) >= 0);
    CHECK(*std::max_element(x.begin(), x.end()) < 1);
    CHECK(moment(x, 0, 1) == Approx(0.5).margin(0.003));
    CHECK(moment(x, 0.5, 2) == Approx(1 / 12.).margin(0.001));
  }
}

TEST_CASE("an element depends on the seed and its block only", "[random]") {
  PhiloxGenerator whole(9), late(9, 25), other(10);
  const std::vector<float> all = normals(whole, 1003), end = normals(late, 903);
  CHECK(std::equal(end.begin(), end.end(), all.begin() + 100));
  CHECK(whole.offset() == 251);
  CHECK(normals(other, 1003) != all);
}

TEST_CASE("random numbers do not depend on the number of threads", "[random]") {
  const int before = cpu::threads();
  std::vector<float> made[2];
  for (int threads : {1, 2}) {
    cpu::set_threads(threads);
    PhiloxGenerator generator(4);
    made[threads - 1] = normals(generator, 100001);
  }
  cpu::set_threads(before);
  CHECK(made[0] == made[1]);
}

TEST_CASE("integers lie between their bounds and reach all of them", "[random]") {
  for (const char* name : {"philox", "torch"}) {
    const auto generator = make_generator(name, 6);
    std::vector<int> counts(10);
    for (int64_t i : integers(*generator, {100000}, -3, 7).to_vector<int64_t>()) ++counts.at(i + 3);
    INFO(name);
    for (int count : counts) CHECK(count == Approx(10000).margin(400));
    CHECK_THROWS_WITH(integers(*generator, {1}, 5, 5), Contains("integers"));
  }
}

TEST_CASE("a permutation holds every number once", "[random]") {
  for (const char* name : {"philox", "torch"}) {
    const auto generator = make_generator(name, 7);
    std::vector<int64_t> shuffled = permutation(*generator, 1000).to_vector<int64_t>(), sorted(1000);
    std::iota(sorted.begin(), sorted.end(), 0);
    INFO(name);
    CHECK(shuffled != sorted);
    std::sort(shuffled.begin(), shuffled.end());
    CHECK(shuffled == sorted);
    CHECK(permutation(*generator, 0).numel() == 0);
  }
}

TEST_CASE("a generator goes on from its saved state", "[random]") {
  for (const char* name : {"philox", "torch"}) {
    const auto first = make_generator(name, 8), second = make_generator(name, 99);
    normals(*first, 5);  // an odd number: torch keeps the second of a pair
    second->set_state(first->state());
    INFO(name);
    CHECK(normals(*first, 3) == normals(*second, 3));
    CHECK(normals(*first, 37) == normals(*second, 37));
    CHECK_THROWS_WITH(first->set_state(Tensor::zeros({3})), Contains("state"));
  }
}

TEST_CASE("an image's noise does not depend on its batch", "[random]") {
  std::vector<std::unique_ptr<Generator>> three, one;
  for (uint64_t seed : {1, 2, 3}) three.push_back(make_generator("philox", seed));
  one.push_back(make_generator("philox", 2));
  const Tensor batch = normal_per_image(three, {3, 5, 5, 3}), alone = normal_per_image(one, {1, 5, 5, 3});
  CHECK(batch.slice(1, 2).to_vector<float>() == alone.to_vector<float>());
  CHECK_THROWS_WITH(normal_per_image(one, {2, 5}), Contains("1 generators for [2,5]"));
}

TEST_CASE("an unknown generator is an error", "[random]") {
  CHECK_THROWS_WITH(make_generator("mersenne", 0), Contains("mersenne") && Contains("philox"));
}

// What torch 2.13 answers.

TEST_CASE("torch normals are PyTorch's, f32", "[random]") {
  const auto generator = make_generator("torch", 0);
  check_close(normals(*generator, 5),
              {1.5409960746765137, -0.293428897857666, -2.1787893772125244, 0.5684312582015991, -1.0845223665237427});
  check_close(normals(*generator, 2), {-1.3985954523086548, 0.40334683656692505});
  check_close(normals(*generator, 16),
              {-1.3526537418365479, -1.6959311962127686, 0.5666506290435791, 0.7935083508491516, 0.5988394618034363,
               -1.5550950765609741, -0.3413603901863098, 1.85300612449646, 0.750189483165741, -0.5854975581169128,
               -0.1733967512845993, 0.18347793817520142, 1.3893661499023438, 1.586334228515625, 0.946298360824585,
               -0.843676745891571});
  check_close(normals(*generator, 1), {0.8380263447761536});
  const auto fresh = make_generator("torch", 0);
  check_close(normals(*fresh, 18),
              {-1.1258398294448853, -1.152360200881958, 0.5666506290435791, 0.7935083508491516, 0.5988394618034363,
               -1.5550950765609741, -0.3413603901863098, 1.85300612449646, 0.46809640526771545, -0.1577124446630478,
               -0.1733967512845993, 0.18347793817520142, 1.3893661499023438, 1.586334228515625, 0.946298360824585,
               -0.843676745891571, 0.9318265914916992, 1.2590092420578003});
}

TEST_CASE("torch normals are PyTorch's, f64", "[random]") {
  const auto many = make_generator("torch", 0), few = make_generator("torch", 7);
  check_close(normal(*many, {18}, Dtype::f64).to_vector<double>(),
              {-2.310411800234176, -0.3732508612577643, -1.2609246557194385, -0.726951062065411, -0.019964750907762653,
               0.2102998901016947, 0.17718935139366584, -0.830510051008449, 0.23871805816817063, 0.7335283685272841,
               -0.7730112772958181, -1.5951814880783068, -0.6870036940435463, 1.4880743158106724, -0.4484158047114511,
               -0.8910030351707375, 0.6748575435940039, 1.0468653769814655});
  check_close(normal(*few, {3}, Dtype::f64).to_vector<double>(),
              {-0.1467950974849952, 0.7861412987235358, 0.9468216090039564});
  check_close(normals(*few, 3), {-1.1143440008163452, 1.6907901763916016, -0.8948279023170471});
}

TEST_CASE("torch uniforms, integers and permutations are PyTorch's", "[random]") {
  const auto uniforms = make_generator("torch", 42), chosen = make_generator("torch", 42),
             shuffler = make_generator("torch", 42);
  CHECK(uniform(*uniforms, {4}).to_vector<float>() ==
        std::vector{0.8822692632675171f, 0.9150039553642273f, 0.38286375999450684f, 0.9593056440353394f});
  CHECK(uniform(*uniforms, {2}, Dtype::f64).to_vector<double>() ==
        std::vector{0.12358607277440903, 0.05258016436107704});
  using Integers = std::vector<int64_t>;
  CHECK(integers(*chosen, {6}, -3, 1000).to_vector<int64_t>() == Integers{61, 385, 654, 944, 565, 139});
  CHECK(integers(*chosen, {3}, 0, 1 << 28).to_vector<int64_t>() == Integers{147532820, 35788921, 160953558});
  CHECK(integers(*chosen, {2}, 0, int64_t{1} << 40).to_vector<int64_t>() == Integers{319800038858, 375095422324});
  CHECK(permutation(*shuffler, 12).to_vector<int64_t>() == Integers{6, 8, 1, 7, 0, 2, 10, 11, 4, 3, 5, 9});
}

}  // namespace stipple
