#include "diffusion/unet.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/ops/random_tensor.h"
#include "tests/peak_memory.h"
#include "tests/rung_guard.h"

namespace stipple {
namespace {

constexpr int64_t kSize = 256, kChannels = 32;  // more products than are summed in double, for which inputs are joined

// As wide at full resolution as below, so that there is most to hold on the way up.
UNet2DConfig wide_at_the_top() {
  UNet2DConfig c;
  c.sample_height = c.sample_width = kSize;
  c.down_block_types = {"DownBlock2D", "DownBlock2D"};
  c.up_block_types = {"UpBlock2D", "UpBlock2D"};
  c.block_out_channels = {kChannels, kChannels};
  c.layers_per_block = 2;
  c.add_attention = false;
  c.norm_num_groups = 8;
  return c;
}

struct Network {
  Parameters parameters;
  UNet2DModel unet;
  Tensor picture = random_tensor({1, kSize, kSize, 3}, 1), timesteps = Tensor::full({1}, 500);

  Network() : unet(Scope(parameters), wide_at_the_top()) {
    PhiloxGenerator random(0);
    parameters.allocate();
    parameters.initialize(random);
  }
  Tensor drawn() const {
    const NoGrad no_grad;
    return unet(picture, timesteps).value();
  }
};

}  // namespace

// On the way up, in the first block at full resolution: what comes from below and a skip, their norm (two maps wide),
// what the convolution makes of it, and a skip that waits. The convolution's transformed weights and tiles are less
// than a map.
TEST_CASE("drawing holds six maps of full resolution at most", "[unet][memory]") {
  const ThreadsGuard two(2);
  const Network network;
  const double map = kSize * kSize * kChannels * sizeof(float);
  CHECK(static_cast<double>(peak_memory([&] { network.drawn(); })) / map < 7);
}

TEST_CASE("a network gives the same bits where its first map is kept and where it is made again", "[unet][memory]") {
  Network network;
  const Tensor drawn = network.drawn();
  network.parameters.require_gradients(true);
  CHECK(same_bits(network.unet(network.picture, network.timesteps).value(), drawn));
}

}  // namespace stipple
