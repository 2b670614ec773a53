#include "diffusion/unet_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "diffusion/json_fields.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
struct Choice {
  const char* name;
  T value;
};

constexpr Choice<Activation> kActivations[] = {{"silu", Activation::silu},
                                               {"swish", Activation::silu},
                                               {"gelu", Activation::gelu},
                                               {"relu", Activation::relu},
                                               {"mish", Activation::mish}};
constexpr Choice<TimeEmbedding> kTimeEmbeddings[] = {{"positional", TimeEmbedding::positional},
                                                     {"fourier", TimeEmbedding::fourier},
                                                     {"learned", TimeEmbedding::learned}};
constexpr Choice<TimeScaleShift> kTimeScaleShifts[] = {{"default", TimeScaleShift::none},
                                                       {"scale_shift", TimeScaleShift::scale_shift}};
constexpr Choice<ResampleType> kResampleTypes[] = {{"conv", ResampleType::conv}, {"resnet", ResampleType::resnet}};

// diffusers takes activations in any case.
std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

template <typename T, size_t N>
void read_choice(JsonFields& fields, const char* key, const Choice<T> (&choices)[N], T& value) {
  std::string text;
  fields.read(key, text);
  if (text.empty()) return;
  std::string known;
  for (const auto& choice : choices) {
    if (lower_case(text) == choice.name) {
      value = choice.value;
      return;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", choice.name);
  }
  fail("{}: field '{}' is {}; known are: {}", fields.file(), key, in_quotes(text), known);
}

template <typename T, size_t N>
const char* name_of_choice(const Choice<T> (&choices)[N], T value) {
  for (const auto& choice : choices)
    if (choice.value == value) return choice.name;
  return "?";
}

bool is_null(JsonFields& fields, const char* key) {
  const nlohmann::json* found = fields.find(key);
  return found && found->is_null();
}

// To Python, None is false.
void read_flag(JsonFields& fields, const char* key, bool& value) {
  if (is_null(fields, key))
    value = false;
  else
    fields.read(key, value);
}

// diffusers' get_down_block() reads "conv" for None.
void read_resample_type(JsonFields& fields, const char* key, ResampleType& value) {
  if (!is_null(fields, key)) read_choice(fields, key, kResampleTypes, value);
}

template <typename T>
Json null_or(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

// One of diffusers' other networks, under a name that was meant for this one.
void check_class(JsonFields& fields) {
  std::optional<std::string> name;
  fields.read("_class_name", name);
  check(!name || *name == "UNet2DModel", "{}: a network of class {}; UNet2DModel can be used", fields.file(),
        in_quotes(name.value_or("")));
}

void read_sample_size(JsonFields& fields, UNet2DConfig& c) {
  const nlohmann::json* size = fields.find("sample_size");
  if (!size || size->is_null()) return;
  if (size->is_array()) {
    const auto sides = fields.as<std::vector<int64_t>>("sample_size", *size);
    check(sides.size() == 2, "{}: field 'sample_size' must be a number or [height, width]", fields.file());
    c.sample_height = sides[0];
    c.sample_width = sides[1];
  } else {
    c.sample_height = c.sample_width = fields.as<int64_t>("sample_size", *size);
  }
}

void read_class_embedding(JsonFields& fields, UNet2DConfig& c) {
  std::optional<std::string> type;
  fields.read("class_embed_type", type);
  fields.read("num_class_embeds", c.num_class_embeds);
  if (type == "timestep")
    c.class_embedding = ClassEmbedding::timestep;
  else if (type == "identity")
    c.class_embedding = ClassEmbedding::identity;
  else if (type)
    fail("{}: field 'class_embed_type' is {}; known are: null, timestep, identity", fields.file(), in_quotes(*type));
  else if (c.num_class_embeds)
    c.class_embedding = ClassEmbedding::table;
}

// Old files have "UNetRes" before the block's name.
void read_blocks(JsonFields& fields, const char* key, const char* direction, std::vector<std::string>& types) {
  fields.read(key, types);
  const std::vector<std::string> known = {fmt::format("{}Block2D", direction), fmt::format("Attn{}Block2D", direction),
                                          fmt::format("Resnet{}sampleBlock2D", direction),
                                          fmt::format("Skip{}Block2D", direction),
                                          fmt::format("AttnSkip{}Block2D", direction)};
  for (std::string& type : types) {
    if (type.starts_with("UNetRes")) type = type.substr(7);
    check(std::count(known.begin(), known.end(), type) == 1,
          "{}: field '{}': block {} cannot be built here; known are: {}", fields.file(), key, in_quotes(type),
          fmt::join(known, ", "));
  }
}

// Skip blocks that change the size hand on a picture of three channels. It must have been made smaller, and must be
// made larger again, with the network: the first blocks on the way down, the last on the way up.
void check_pictures(const std::string& file, const UNet2DConfig& c) {
  const auto& down = c.down_block_types;
  const auto& up = c.up_block_types;
  for (size_t i = 0; i + 1 < down.size(); ++i) {
    if (!carries_picture(down[i])) continue;
    check(c.in_channels == 3, "{}: field 'in_channels' is {}, but {} needs 3", file, c.in_channels, down[i]);
    check(std::all_of(down.begin(), down.begin() + i, carries_picture),
          "{}: field 'down_block_types': before {} all blocks must be Skip blocks", file, down[i]);
  }
  for (size_t i = 0; i + 1 < up.size(); ++i) {
    if (!carries_picture(up[i])) continue;
    check(c.out_channels == 3, "{}: field 'out_channels' is {}, but {} needs 3", file, c.out_channels, up[i]);
    check(std::all_of(up.begin() + i, up.end(), carries_picture),
          "{}: field 'up_block_types': behind {} all blocks must be Skip blocks", file, up[i]);
  }
}

// Of the widths that norms are known to have; those of what Skip blocks hand on follow when the network is built.
void check_groups(const std::string& file, const UNet2DConfig& c) {
  const auto divides = [&](const char* key, int64_t groups, int64_t channels) {
    check(channels % groups == 0, "{}: field '{}' is {}, by which {} of 'block_out_channels' cannot be divided", file,
          key, groups, channels);
  };
  const size_t levels = c.block_out_channels.size();
  for (size_t i = 0; i < levels; ++i)
    for (const std::string& type : {c.down_block_types[i], c.up_block_types[levels - 1 - i]}) {
      if (carries_picture(type)) continue;
      check(c.norm_num_groups.has_value(), "{}: field 'norm_num_groups' is null, but {} needs a number", file, type);
      divides("norm_num_groups", *c.norm_num_groups, c.block_out_channels[i]);
    }
  if (c.mid_block && c.add_attention)
    divides("attn_norm_num_groups", c.attn_norm_num_groups.value_or(1), c.block_out_channels.back());
}

// A few bytes of configuration must not promise more than a machine can hold.
constexpr int64_t kMostLevels = 16, kMostLayers = 100, kMostChannels = 1 << 20;

void check_consistent(const std::string& file, const UNet2DConfig& c) {
  const int64_t levels = std::ssize(c.block_out_channels);
  check(levels >= 1 && std::ssize(c.down_block_types) == levels && std::ssize(c.up_block_types) == levels,
        "{}: fields 'block_out_channels' ({} entries), 'down_block_types' ({}) and 'up_block_types' ({}) must be "
        "equally long",
        file, levels, c.down_block_types.size(), c.up_block_types.size());
  check(levels <= kMostLevels, "{}: {} 'block_out_channels'; {} at most can be built", file, levels, kMostLevels);
  const auto in_range = [&](const char* key, int64_t value, int64_t most = kMostChannels) {
    check(value >= 1 && value <= most, "{}: field '{}' must be from 1 to {}, it is {}", file, key, most, value);
  };
  for (int64_t channels : c.block_out_channels) in_range("block_out_channels", channels);
  in_range("in_channels", c.in_channels);
  in_range("out_channels", c.out_channels);
  in_range("layers_per_block", c.layers_per_block, kMostLayers);
  in_range("norm_num_groups", c.norm_num_groups.value_or(1));
  in_range("attn_norm_num_groups", c.attn_norm_num_groups.value_or(1));
  in_range("attention_head_dim", c.attention_head_dim.value_or(1));
  in_range("num_class_embeds", c.num_class_embeds.value_or(1));
  in_range("time_embedding_dim", c.time_embedding_dim.value_or(1));
  in_range("num_train_timesteps", c.num_train_timesteps.value_or(1));
  check(c.time_embedding_type != TimeEmbedding::learned || c.num_train_timesteps,
        "{}: field 'num_train_timesteps' is needed where 'time_embedding_type' is \"learned\"", file);
  for (const auto& side : {c.sample_height, c.sample_width}) in_range("sample_size", side.value_or(1));
  check(c.downsample_padding == 0 || c.downsample_padding == 1,
        "{}: field 'downsample_padding' must be 0 or 1, it is {}", file, c.downsample_padding);
  check(c.dropout >= 0 && c.dropout < 1, "{}: field 'dropout' must be in [0, 1), it is {}", file, c.dropout);
  check_pictures(file, c);
  check_groups(file, c);
}

Json sample_size(const UNet2DConfig& c) {
  if (!c.sample_height) return nullptr;
  if (c.sample_height == c.sample_width) return *c.sample_height;
  return {*c.sample_height, *c.sample_width};
}

Json class_embed_type(ClassEmbedding embedding) {
  if (embedding == ClassEmbedding::timestep) return "timestep";
  if (embedding == ClassEmbedding::identity) return "identity";
  return nullptr;
}

void add_blocks(Json& j, const UNet2DConfig& c) {
  j["down_block_types"] = c.down_block_types;
  j["mid_block_type"] = c.mid_block ? Json("UNetMidBlock2D") : Json();
  j["up_block_types"] = c.up_block_types;
  j["block_out_channels"] = c.block_out_channels;
  j["layers_per_block"] = c.layers_per_block;
  j["mid_block_scale_factor"] = c.mid_block_scale_factor;
  j["downsample_padding"] = c.downsample_padding;
  j["downsample_type"] = name_of_choice(kResampleTypes, c.downsample_type);
  j["upsample_type"] = name_of_choice(kResampleTypes, c.upsample_type);
}

}  // namespace

bool carries_picture(const std::string& block_type) { return block_type.find("Skip") != std::string::npos; }

int64_t UNet2DConfig::groups_at(int64_t channels) const {
  return norm_num_groups.value_or(std::min<int64_t>(channels / 4, 32));
}

void UNet2DConfig::check_size(int64_t height, int64_t width) const {
  const int64_t d = size_divisor();
  const size_t halvings = block_out_channels.size() - 1;
  check(height >= 1 && width >= 1 && height % d == 0 && width % d == 0,
        "{}x{} pixels cannot be halved {} by this network: height and width must be multiples of {}", height, width,
        halvings == 1 ? "once" : fmt::format("{} times", halvings), d);
}

UNet2DConfig UNet2DConfig::from_json(const std::string& text, const std::string& file,
                                     std::vector<std::string>& notices) {
  JsonFields fields(text, file);
  UNet2DConfig c;
  check_class(fields);
  read_sample_size(fields, c);
  fields.read("in_channels", c.in_channels);
  fields.read("out_channels", c.out_channels);
  read_flag(fields, "center_input_sample", c.center_input_sample);
  read_choice(fields, "time_embedding_type", kTimeEmbeddings, c.time_embedding_type);
  fields.read("time_embedding_dim", c.time_embedding_dim);
  fields.read("freq_shift", c.freq_shift);
  read_flag(fields, "flip_sin_to_cos", c.flip_sin_to_cos);
  read_blocks(fields, "down_block_types", "Down", c.down_block_types);
  read_blocks(fields, "up_block_types", "Up", c.up_block_types);
  std::optional<std::string> mid = "UNetMidBlock2D";
  fields.read("mid_block_type", mid);
  check(!mid || *mid == "UNetMidBlock2D", "{}: field 'mid_block_type' is \"{}\"; known are: UNetMidBlock2D, null", file,
        mid.value_or(""));
  c.mid_block = mid.has_value();
  fields.read("block_out_channels", c.block_out_channels);
  fields.read("layers_per_block", c.layers_per_block);
  fields.read("mid_block_scale_factor", c.mid_block_scale_factor);
  fields.read("downsample_padding", c.downsample_padding);
  read_resample_type(fields, "downsample_type", c.downsample_type);
  read_resample_type(fields, "upsample_type", c.upsample_type);
  fields.read("dropout", c.dropout);
  read_choice(fields, "act_fn", kActivations, c.act_fn);
  fields.read("attention_head_dim", c.attention_head_dim);
  fields.read("norm_num_groups", c.norm_num_groups);
  fields.read("attn_norm_num_groups", c.attn_norm_num_groups);
  fields.read("norm_eps", c.norm_eps);
  read_choice(fields, "resnet_time_scale_shift", kTimeScaleShifts, c.resnet_time_scale_shift);
  read_flag(fields, "add_attention", c.add_attention);
  read_class_embedding(fields, c);
  fields.read("num_train_timesteps", c.num_train_timesteps);
  check_consistent(file, c);
  fields.report_unknown(notices);
  return c;
}

std::string UNet2DConfig::to_json() const {
  Json j;
  j["_class_name"] = "UNet2DModel";
  j["_diffusers_version"] = "0.42.1";
  j["sample_size"] = sample_size(*this);
  j["in_channels"] = in_channels;
  j["out_channels"] = out_channels;
  j["center_input_sample"] = center_input_sample;
  j["time_embedding_type"] = name_of_choice(kTimeEmbeddings, time_embedding_type);
  j["time_embedding_dim"] = null_or(time_embedding_dim);
  j["freq_shift"] = freq_shift;
  j["flip_sin_to_cos"] = flip_sin_to_cos;
  add_blocks(j, *this);
  j["dropout"] = dropout;
  j["act_fn"] = name_of_choice(kActivations, act_fn);
  j["attention_head_dim"] = null_or(attention_head_dim);
  j["norm_num_groups"] = null_or(norm_num_groups);
  j["attn_norm_num_groups"] = null_or(attn_norm_num_groups);
  j["norm_eps"] = norm_eps;
  j["resnet_time_scale_shift"] = name_of_choice(kTimeScaleShifts, resnet_time_scale_shift);
  j["add_attention"] = add_attention;
  j["class_embed_type"] = class_embed_type(class_embedding);
  j["num_class_embeds"] = null_or(num_class_embeds);
  j["num_train_timesteps"] = null_or(num_train_timesteps);
  return j.dump(2) + "\n";
}

}  // namespace stipple
