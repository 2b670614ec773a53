#include "diffusion/unet_config.h"

#include "autograd/random_stream.h"
#include "diffusion/unet.h"
#include "tests/catch.h"
#include "tests/compare.h"

// What a config.json may ask for, and what is said where it cannot be had.

namespace stipple {
namespace {

UNet2DConfig parse(const std::string& fields) {
  std::vector<std::string> notices;
  return UNet2DConfig::from_json("{" + fields + "}", "unet.json", notices);
}

// Two levels of 8 channels.
std::string small(const std::string& down, const std::string& up) {
  return R"("block_out_channels": [8, 8], "norm_num_groups": 2, "down_block_types": )" + down +
         R"(, "up_block_types": )" + up;
}

const std::string kPlain = small(R"(["DownBlock2D", "DownBlock2D"])", R"(["UpBlock2D", "UpBlock2D"])");
const std::string kSkip = small(R"(["SkipDownBlock2D", "SkipDownBlock2D"])", R"(["SkipUpBlock2D", "SkipUpBlock2D"])");

struct Built {
  Parameters parameters;
  UNet2DModel unet;

  explicit Built(const UNet2DConfig& config) : unet(Scope(parameters), config) {
    parameters.allocate();
    PhiloxGenerator generator(0);
    parameters.initialize(generator);
  }
  Tensor operator()() const {
    const Tensor sample = Tensor::full({1, 4, 4, unet.config.in_channels}, 0.5);
    return unet(sample, Tensor::full({1}, 3, Dtype::i64)).value();
  }
};

}  // namespace

TEST_CASE("what a config asks for and cannot be built is an error that names the field", "[unet][config]") {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {kPlain + R"(, "time_embedding_type": "sines")", "time_embedding_type"},
      {kPlain + R"(, "_class_name": "UNet2DConditionModel")", "UNet2DConditionModel"},
      {kPlain + R"(, "time_embedding_type": "learned")", "num_train_timesteps"},
      {kPlain + R"(, "class_embed_type": "projection")", "class_embed_type"},
      {kPlain + R"(, "act_fn": "tanh")", "act_fn"},
      {kPlain + R"(, "act_fn": "ta\nh")", R"("ta\nh")"},
      {kPlain + R"(, "layers_per_block": 101)", "layers_per_block"},
      {kPlain + R"(, "layers_per_block": 18446744073709551615)", "cannot be 18446744073709551615"},
      {kPlain + R"(, "time_embedding_dim": 1048577)", "time_embedding_dim"},
      {kPlain + R"(, "sample_size": [1, 9223372036854775807])", "sample_size"},
      {kPlain + R"(, "dropout": -0.1)", "dropout"},
      {kPlain + R"(, "downsample_padding": 2)", "downsample_padding"},
      {kPlain + R"(, "mid_block_type": "UNetMidBlock2DCrossAttn")", "mid_block_type"},
      {kPlain + R"(, "resnet_time_scale_shift": "spatial")", "resnet_time_scale_shift"},
      {R"("block_out_channels": [8], "norm_num_groups": null, "down_block_types": ["DownBlock2D"],
          "up_block_types": ["SkipUpBlock2D"])",
       "norm_num_groups"},
      {kPlain + R"(, "norm_num_groups": 3)", "norm_num_groups"},
      {kPlain + R"(, "attn_norm_num_groups": 3)", "attn_norm_num_groups"},
      {small(R"(["DownBlock2D", "KDownBlock2D"])", R"(["UpBlock2D", "UpBlock2D"])"), "KDownBlock2D"},
      {kSkip + R"(, "in_channels": 1)", "in_channels"},
      {kSkip + R"(, "out_channels": 1)", "out_channels"},
      {R"("block_out_channels": [8, 8, 8], "down_block_types": ["DownBlock2D", "SkipDownBlock2D", "DownBlock2D"],
          "up_block_types": ["UpBlock2D", "UpBlock2D", "UpBlock2D"])",
       "down_block_types"},
      {small(R"(["DownBlock2D", "DownBlock2D"])", R"(["SkipUpBlock2D", "UpBlock2D"])"), "up_block_types"}};
  for (const auto& [fields, named] : wrong) {
    INFO(fields);
    CHECK_THROWS_WITH(parse(fields), Contains("unet.json") && Contains(named));
  }
}

TEST_CASE("a null is false for a flag, and conv for how blocks with attention resample", "[unet][config]") {
  const UNet2DConfig c = parse(kPlain + R"(, "center_input_sample": null, "flip_sin_to_cos": null,
      "add_attention": null, "downsample_type": null, "upsample_type": null)");
  CHECK_FALSE((c.center_input_sample || c.flip_sin_to_cos || c.add_attention));
  CHECK((c.downsample_type == ResampleType::conv && c.upsample_type == ResampleType::conv));
}

TEST_CASE("a config keeps what it says when it is written", "[unet][config]") {
  for (const std::string& fields :
       {kPlain + R"(, "time_embedding_type": "fourier", "dropout": 0.1, "attention_head_dim": null)",
        kPlain + R"(, "time_embedding_type": "learned", "num_train_timesteps": 7, "act_fn": "SiLU")",
        kSkip + R"(, "norm_num_groups": null, "sample_size": [8, 16], "freq_shift": 1)"}) {
    const std::string written = parse(fields).to_json();
    std::vector<std::string> notices;
    CHECK(UNet2DConfig::from_json(written, "again.json", notices).to_json() == written);
    CHECK(notices.empty());
  }
  CHECK(parse(kPlain + R"(, "act_fn": "SiLU")").act_fn == Activation::silu);
}

TEST_CASE("a network drops only where a random stream is open", "[unet][dropout]") {
  const Built without(parse(kPlain)), with(parse(kPlain + R"(, "dropout": 0.5)"));
  CHECK(same_bits(with(), without()));
  const RandomStream open(RandomPosition{.seed = 1});
  CHECK_FALSE(same_bits(with(), without()));
}

TEST_CASE("a learned time embedding takes the timesteps it has rows for", "[unet]") {
  const Built net(parse(kPlain + R"(, "time_embedding_type": "learned", "num_train_timesteps": 3)"));
  CHECK_THROWS_WITH(net(), Contains("index 3") && Contains("3 rows"));
}

}  // namespace stipple
