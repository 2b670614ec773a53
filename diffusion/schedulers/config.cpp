#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>

#include "diffusion/scheduler.h"

namespace stipple {
namespace {

using nlohmann::json;

// The one list of keys: visit(key, member) for each.
template <typename Config, typename Visit>
void for_each_key(Config& c, const Visit& visit) {
  visit("_class_name", c.class_name);
  visit("num_train_timesteps", c.num_train_timesteps);
  visit("beta_start", c.beta_start);
  visit("beta_end", c.beta_end);
  visit("beta_schedule", c.beta_schedule);
  visit("trained_betas", c.trained_betas);
  visit("prediction_type", c.prediction_type);
  visit("variance_type", c.variance_type);
  visit("clip_sample", c.clip_sample);
  visit("clip_sample_range", c.clip_sample_range);
  visit("thresholding", c.thresholding);
  visit("dynamic_thresholding_ratio", c.dynamic_thresholding_ratio);
  visit("sample_max_value", c.sample_max_value);
  visit("timestep_spacing", c.timestep_spacing);
  visit("steps_offset", c.steps_offset);
  visit("rescale_betas_zero_snr", c.rescale_betas_zero_snr);
  visit("set_alpha_to_one", c.set_alpha_to_one);
}

bool fits(const json& value, const std::string&) { return value.is_string(); }
bool fits(const json& value, bool) { return value.is_boolean(); }
bool fits(const json& value, int64_t) { return value.is_number_integer(); }
bool fits(const json& value, double) { return value.is_number(); }
bool fits(const json& value, const std::optional<std::vector<double>>&) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_number(); });
}

const char* expected(const std::string&) { return "a string"; }
const char* expected(bool) { return "true or false"; }
const char* expected(int64_t) { return "an integer"; }
const char* expected(double) { return "a number"; }
const char* expected(const std::optional<std::vector<double>>&) { return "a list of numbers"; }

template <typename T>
void read(const json& value, T& to) {
  to = value.get<T>();
}
void read(const json& value, std::optional<std::vector<double>>& to) { to = value.get<std::vector<double>>(); }

template <typename T>
json write(const T& value) {
  return value;
}
json write(const std::optional<std::vector<double>>& value) { return value ? json(*value) : json(nullptr); }

json parse_object(const std::string& text, const std::string& file) {
  const json object = json::parse(text, nullptr, false);
  check(object.is_object(), "{}: is no JSON object", file);
  return object;
}

void check_name(const std::string& where, const char* key, const std::string& value,
                std::initializer_list<const char*> names) {
  if (std::find(names.begin(), names.end(), value) != names.end()) return;
  std::string list;
  for (const char* name : names) list += (list.empty() ? "" : ", ") + std::string(name);
  fail("{}: {} '{}' is not supported; there are {}", where, key, value, list);
}

void check_betas(const SchedulerConfig& c, const std::string& where) {
  if (!c.trained_betas) return;
  check(static_cast<int64_t>(c.trained_betas->size()) == c.num_train_timesteps,
        "{}: trained_betas holds {} numbers, num_train_timesteps is {}", where, c.trained_betas->size(),
        c.num_train_timesteps);
  for (double beta : *c.trained_betas)
    check(beta > 0 && beta < 1, "{}: trained_betas holds {}; a beta is above 0 and below 1", where, beta);
}

}  // namespace

SchedulerConfig SchedulerConfig::from_json(const std::string& text, const std::string& file,
                                           std::vector<std::string>& notices) {
  const json object = parse_object(text, file);
  SchedulerConfig config;
  std::set<std::string> known = {"_diffusers_version", "_name_or_path"};
  for_each_key(config, [&](const char* key, auto& member) {
    known.insert(key);
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return;
    stipple::check(fits(*found, member), "{}: {} is {}, expected {}", file, key, found->dump(), expected(member));
    read(*found, member);
  });
  for (const auto& [key, value] : object.items())
    if (!known.count(key)) notices.push_back(fmt::format("{}: {} is unknown and ignored", file, key));
  config.check(file);
  return config;
}

std::string SchedulerConfig::to_json() const {
  json object;
  for_each_key(*this, [&](const char* key, const auto& member) { object[key] = write(member); });
  object.erase(class_name == "DDIMScheduler" ? "variance_type" : "set_alpha_to_one");
  return object.dump(2) + "\n";
}

void SchedulerConfig::check(const std::string& where) const {
  check_name(where, "beta_schedule", beta_schedule, {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"});
  check_name(where, "prediction_type", prediction_type, {"epsilon", "sample", "v_prediction"});
  check_name(where, "timestep_spacing", timestep_spacing, {"leading", "linspace", "trailing"});
  if (class_name == "DDPMScheduler")
    check_name(where, "variance_type", variance_type, {"fixed_small", "fixed_small_log", "fixed_large"});
  stipple::check(num_train_timesteps >= 1, "{}: num_train_timesteps is {}", where, num_train_timesteps);
  stipple::check(beta_start > 0 && beta_end < 1 && beta_end > 0 && beta_start < 1,
                 "{}: beta_start {} and beta_end {}; a beta is above 0 and below 1", where, beta_start, beta_end);
  stipple::check(dynamic_thresholding_ratio >= 0 && dynamic_thresholding_ratio <= 1,
                 "{}: dynamic_thresholding_ratio is {}, a quantile is in 0 to 1", where, dynamic_thresholding_ratio);
  stipple::check(clip_sample_range > 0 && sample_max_value > 0,
                 "{}: clip_sample_range {} and sample_max_value {} must be positive", where, clip_sample_range,
                 sample_max_value);
  check_betas(*this, where);
}

}  // namespace stipple
