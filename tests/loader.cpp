#include "diffusion/data/loader.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tensor/error.h"
#include "tests/catch.h"

using namespace stipple;

namespace {

// Picture i holds (i, x, y) at every pixel; it is two pixels larger than the set's 4 x 4 if `oversize`.
Dataset numbered(int64_t count, int64_t oversize = 0) {
  const int64_t side = 4 + oversize, bytes = side * side * 3;
  const std::shared_ptr<uint8_t> block(new uint8_t[count * bytes], std::default_delete<uint8_t[]>());
  Dataset set{.name = "numbered", .height = 4, .width = 4, .channels = 3, .class_names = {"even", "odd"}};
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t p = 0; p < side * side; ++p) {
      const uint8_t pixel[] = {static_cast<uint8_t>(i), static_cast<uint8_t>(p % side), static_cast<uint8_t>(p / side)};
      std::copy_n(pixel, 3, block.get() + i * bytes + p * 3);
    }
    set.pictures.push_back({i * bytes, side, side});
    set.labels.push_back(i % 2);
  }
  set.block = block;
  return set;
}

int64_t byte(float x) { return std::lround((x + 1) * 127.5); }

// The pixel at (0, 0) of picture n of a batch.
std::vector<int64_t> corner(const Batch& batch, int64_t n) {
  const float* x = batch.images[n].data<float>();
  return {byte(x[0]), byte(x[1]), byte(x[2])};
}

bool equal(const Batch& a, const Batch& b) {
  const auto same = [](const Tensor& x, const Tensor& y) {
    return x.nbytes() == y.nbytes() && std::equal(x.bytes(), x.bytes() + x.nbytes(), y.bytes());
  };
  return same(a.images, b.images) && same(a.labels, b.labels);
}

}  // namespace

TEST_CASE("An epoch shows every picture once, with its label, the rest in a last smaller batch", "[loader]") {
  const Loader loader(numbered(21), {.batch_size = 8, .seed = 3});
  REQUIRE(loader.batches() == 3);
  std::multiset<int64_t> seen;
  for (int64_t b = 0; b < 3; ++b) {
    const Batch batch = loader.batch(0, b);
    CHECK(batch.images.dim(0) == (b < 2 ? 8 : 5));
    for (int64_t n = 0; n < batch.images.dim(0); ++n) {
      seen.insert(corner(batch, n)[0]);
      CHECK(batch.labels.data<int64_t>()[n] == corner(batch, n)[0] % 2);
    }
  }
  CHECK(seen.size() == 21);
  CHECK(std::set<int64_t>(seen.begin(), seen.end()).size() == 21);
}

TEST_CASE("The order changes with the epoch and the seed, and is kept without shuffling", "[loader]") {
  const Loader a(numbered(50), {.seed = 1}), b(numbered(50), {.seed = 2}), plain(numbered(50), {.shuffle = false});
  CHECK(a.order(0) == a.order(0));
  CHECK_FALSE(a.order(0) == a.order(1));
  CHECK_FALSE(a.order(0) == b.order(0));
  const std::vector<int64_t> order = plain.order(4);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("A batch depends on its position alone, so that a run can resume anywhere", "[loader]") {
  const LoaderOptions options{.batch_size = 4, .seed = 9, .random_flip = true};
  const Loader first(numbered(10, 2), options), resumed(numbered(10, 2), options);
  std::vector<Batch> batches;
  for (int64_t position = 0; position < 9; ++position) batches.push_back(first.at(position));
  for (int64_t position : {7, 2, 8}) CHECK(equal(resumed.at(position), batches[position]));
  CHECK_FALSE(equal(first.at(0), first.at(3)));
}

TEST_CASE("Batches are the same with any number of threads", "[loader]") {
  const int threads = omp_get_max_threads();
  const Loader loader(numbered(10, 2), {.batch_size = 10, .random_flip = true});
  omp_set_num_threads(1);
  const Batch one = loader.at(0);
  omp_set_num_threads(3);
  CHECK(equal(one, loader.at(0)));
  omp_set_num_threads(threads);
}

TEST_CASE("About half of the pictures are flipped, others every epoch", "[loader]") {
  const Loader loader(numbered(200), {.batch_size = 200, .shuffle = false, .random_flip = true});
  const Batch batch = loader.batch(0, 0), next = loader.batch(1, 0);
  int64_t flipped = 0, changed = 0;
  for (int64_t n = 0; n < 200; ++n) {
    CHECK((corner(batch, n)[1] == 0 || corner(batch, n)[1] == 3));
    flipped += corner(batch, n)[1] == 3;
    changed += corner(batch, n)[1] != corner(next, n)[1];
  }
  CHECK(std::abs(flipped - 100) < 30);
  CHECK(std::abs(changed - 100) < 30);
}

TEST_CASE("Windows are cut anywhere in larger pictures", "[loader]") {
  const Loader loader(numbered(200, 2), {.batch_size = 200});
  const Batch batch = loader.at(0);
  std::set<std::pair<int64_t, int64_t>> windows;
  for (int64_t n = 0; n < 200; ++n) windows.insert({corner(batch, n)[1], corner(batch, n)[2]});
  CHECK(windows.size() == 9);
}

TEST_CASE("Pixels 0 and 255 become -1 and 1", "[loader]") {
  Dataset set{.height = 1, .width = 2, .channels = 1, .pictures = {{0, 1, 2}}};
  set.block = std::shared_ptr<const uint8_t>(new uint8_t[2]{0, 255}, std::default_delete<const uint8_t[]>());
  const Batch batch = Loader(set, {}).at(0);
  CHECK(batch.images.to_vector<float>() == std::vector<float>{-1, 1});
  CHECK_FALSE(batch.labels.defined());
}

TEST_CASE("A loader refuses an empty set and an empty batch", "[loader]") {
  CHECK_THROWS_WITH(Loader(Dataset{.name = "none"}, {}), Contains("empty"));
  CHECK_THROWS_WITH(Loader(numbered(3), {.batch_size = 0}), Contains("batch size"));
  CHECK_THROWS_AS(Loader(numbered(3), {}).batch(0, 1), Error);
}
