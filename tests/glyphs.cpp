#include "diffusion/data/glyphs.h"

#include <omp.h>

#include <cmath>
#include <set>

#include "tensor/error.h"
#include "tests/catch.h"

using namespace stipple;

namespace {

// Side, mean and deviation of the pixels of some glyphs, in [0, 1].
struct Statistics {
  double mean = 0, deviation = 0;
};

Statistics statistics(const Dataset& set) {
  double sum = 0, squares = 0;
  const double n = static_cast<double>(set.size() * set.height * set.width);
  for (int64_t i = 0; i < static_cast<int64_t>(n); ++i) {
    const double v = set.block.get()[i] / 255.0;
    sum += v;
    squares += v * v;
  }
  return {sum / n, std::sqrt(squares / n - sum / n * sum / n)};
}

int64_t ink_on_border(const Image& glyph) {
  int64_t ink = 0;
  for (int64_t k = 0; k < kGlyphSide; ++k)
    ink += *glyph.at(0, k) + *glyph.at(kGlyphSide - 1, k) + *glyph.at(k, 0) + *glyph.at(k, kGlyphSide - 1);
  return ink;
}

}  // namespace

TEST_CASE("A glyph is a function of its seed and index", "[glyphs]") {
  CHECK(draw_glyph(3, 1, 13) == draw_glyph(3, 1, 13));
  CHECK_FALSE(draw_glyph(3, 1, 13) == draw_glyph(3, 2, 13));
  CHECK_FALSE(draw_glyph(3, 1, 13) == draw_glyph(3, 1, 23));
}

TEST_CASE("Glyphs are the same with any number of threads", "[glyphs]") {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const Dataset one = make_glyphs(300, 5, {});
  omp_set_num_threads(3);
  const Dataset three = make_glyphs(300, 5, {});
  omp_set_num_threads(threads);
  CHECK(std::equal(one.block.get(), one.block.get() + 300 * 28 * 28, three.block.get()));
}

TEST_CASE("All glyphs differ", "[glyphs]") {
  std::set<std::string> seen;
  for (int64_t i = 0; i < 1000; ++i) {
    const Image glyph = draw_glyph(i % 10, 0, i);
    seen.emplace(glyph.pixels.begin(), glyph.pixels.end());
  }
  CHECK(seen.size() == 1000);
}

TEST_CASE("Every digit is drawn whole, in the middle of its picture", "[glyphs]") {
  for (int64_t i = 0; i < 1000; ++i) {
    CAPTURE(i);
    CHECK(ink_on_border(draw_glyph(i % 10, 0, i)) == 0);
  }
}

// MNIST: 0.1307 and 0.3081.
TEST_CASE("Glyphs have about the brightness and contrast of MNIST", "[glyphs]") {
  const auto [mean, deviation] = statistics(make_glyphs(2000, 0, {}));
  CHECK(mean == Approx(0.1307).epsilon(0.15));
  CHECK(deviation == Approx(0.3081).epsilon(0.1));
}

TEST_CASE("The set of glyphs is labelled and can be had at another size", "[glyphs]") {
  const Dataset set = make_glyphs(25, 0, {.resolution = 32, .channels = 3});
  CHECK(set.size() == 25);
  CHECK(set.height == 32);
  CHECK(set.channels == 3);
  CHECK(set.labels[23] == 3);
  CHECK(set.class_names == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  CHECK_THROWS_AS(draw_glyph(10, 0, 0), Error);
}
