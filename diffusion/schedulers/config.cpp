#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>

#include "diffusion/scheduler.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

using nlohmann::json;

// Which classes know a key, by the first letters of their names.
enum Known : unsigned {
  kDdpm = 1,
  kDdim = 2,
  kInverse = 4,
  kDpm = 8,
  kEuler = 16,
  kAncestral = 32,
  kHeun = 64,
  kAll = 127,
  kClipped = kDdpm | kDdim | kInverse | kHeun,
  kThresholded = kDdpm | kDdim | kDpm,
  kRespaced = kDpm | kEuler | kHeun,
};

struct Key {
  const char* name;
  unsigned known;
};

// The one list of keys: visit(key, pointer to member) for each.
template <typename Visit>
void for_each_key(const Visit& visit) {
  using C = SchedulerConfig;
  visit(Key{"num_train_timesteps", kAll}, &C::num_train_timesteps);
  visit(Key{"beta_start", kAll}, &C::beta_start);
  visit(Key{"beta_end", kAll}, &C::beta_end);
  visit(Key{"beta_schedule", kAll}, &C::beta_schedule);
  visit(Key{"trained_betas", kAll}, &C::trained_betas);
  visit(Key{"prediction_type", kAll}, &C::prediction_type);
  visit(Key{"timestep_spacing", kAll}, &C::timestep_spacing);
  visit(Key{"steps_offset", kAll}, &C::steps_offset);
  visit(Key{"rescale_betas_zero_snr", kAll & ~kHeun}, &C::rescale_betas_zero_snr);
  visit(Key{"variance_type", kDdpm | kDpm}, &C::variance_type);
  visit(Key{"clip_sample", kClipped}, &C::clip_sample);
  visit(Key{"clip_sample_range", kClipped}, &C::clip_sample_range);
  visit(Key{"thresholding", kThresholded}, &C::thresholding);
  visit(Key{"dynamic_thresholding_ratio", kThresholded}, &C::dynamic_thresholding_ratio);
  visit(Key{"sample_max_value", kThresholded}, &C::sample_max_value);
  visit(Key{"set_alpha_to_one", kDdim | kInverse}, &C::set_alpha_to_one);
  visit(Key{"use_karras_sigmas", kRespaced}, &C::use_karras_sigmas);
  visit(Key{"use_exponential_sigmas", kRespaced}, &C::use_exponential_sigmas);
  visit(Key{"use_beta_sigmas", kRespaced}, &C::use_beta_sigmas);
  visit(Key{"use_lu_lambdas", kDpm}, &C::use_lu_lambdas);
  visit(Key{"sigma_min", kRespaced}, &C::sigma_min);  // Euler's, but diffusers lets the others find it, too
  visit(Key{"sigma_max", kRespaced}, &C::sigma_max);
  visit(Key{"final_sigmas_type", kDpm | kEuler}, &C::final_sigmas_type);
  visit(Key{"interpolation_type", kEuler}, &C::interpolation_type);
  visit(Key{"timestep_type", kEuler}, &C::timestep_type);
  visit(Key{"solver_order", kDpm}, &C::solver_order);
  visit(Key{"algorithm_type", kDpm}, &C::algorithm_type);
  visit(Key{"solver_type", kDpm}, &C::solver_type);
  visit(Key{"lower_order_final", kDpm}, &C::lower_order_final);
  visit(Key{"euler_at_final", kDpm}, &C::euler_at_final);
  visit(Key{"lambda_min_clipped", kDpm}, &C::lambda_min_clipped);
}

// Keys of diffusers' that change nothing here: of classes that are not here, or of features that must be off.
constexpr const char* kOtherKeys[] = {
    "_class_name",     "_diffusers_version",  "_name_or_path", "skip_prk_steps",    "flow_shift",
    "time_shift_type", "predict_x0",          "solver_p",      "disable_corrector", "shift_terminal",
    "sigma_data",      "sigma_schedule",      "rho",           "set_alpha_to_zero", "noise_sampler_seed",
    "use_flow_sigmas", "use_dynamic_shifting"};
constexpr const char* kMustBeOff[] = {"use_flow_sigmas", "use_dynamic_shifting"};

unsigned class_bit(const std::string& name) {
  if (name == "DDIMScheduler") return kDdim;
  if (name == "DDIMInverseScheduler") return kInverse;
  if (name == "DPMSolverMultistepScheduler") return kDpm;
  if (name == "EulerDiscreteScheduler") return kEuler;
  if (name == "EulerAncestralDiscreteScheduler") return kAncestral;
  if (name == "HeunDiscreteScheduler") return kHeun;
  return name == "DDPMScheduler" ? kDdpm : kAll;  // all: of a class that is not here, nothing is known
}

bool is_elsewhere(const std::string& class_name) { return class_bit(class_name) == kAll; }

bool fits(const json& value, const std::string&) { return value.is_string(); }
bool fits(const json& value, bool) { return value.is_boolean(); }
bool fits(const json& value, int64_t) {
  return value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX);
}
bool fits(const json& value, double) { return value.is_number() || value == "-Infinity" || value == "Infinity"; }
bool fits(const json& value, const std::optional<double>&) { return value.is_number(); }
bool fits(const json& value, const std::optional<std::vector<double>>&) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_number(); });
}

const char* expected(const std::string&) { return "a string"; }
const char* expected(bool) { return "true or false"; }
const char* expected(int64_t) { return "an integer"; }
const char* expected(double) { return "a number"; }
const char* expected(const std::optional<double>&) { return "a number"; }
const char* expected(const std::optional<std::vector<double>>&) { return "a list of numbers"; }

template <typename T>
void read(const json& value, T& to) {
  to = value.get<T>();
}
void read(const json& value, double& to) {
  if (value.is_number())
    to = value.get<double>();
  else
    to = (value == "Infinity" ? 1 : -1) * std::numeric_limits<double>::infinity();
}
template <typename T>
void read(const json& value, std::optional<T>& to) {
  to = value.get<T>();
}

// What diffusers makes of a null, Python's None: no value where that can be, false where a condition asks. False: it
// cannot be had.
template <typename T>
bool read_null(T&) {
  return false;
}
bool read_null(bool& to) {
  to = false;
  return true;
}
template <typename T>
bool read_null(std::optional<T>& to) {
  to.reset();
  return true;
}

// diffusers adds these up, to see that one is true at most; None it cannot add.
bool is_counted(const std::string& key) {
  return key == "use_karras_sigmas" || key == "use_exponential_sigmas" || key == "use_beta_sigmas";
}

// What nobody reads as long as something else is so, and names of which None is one.
bool may_be_null(const SchedulerConfig& c, const std::string& key) {
  if (key == "steps_offset") return c.timestep_spacing != "leading";
  if (key == "clip_sample_range") return !c.clip_sample;
  if (key == "dynamic_thresholding_ratio" || key == "sample_max_value") return !c.thresholding;
  return key == "variance_type" || key == "timestep_type";
}

// Null is for what has no JSON: no value, and the infinity that is a default.
template <typename T>
json write(const T& value) {
  return value;
}
json write(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }
json write(const std::string& value) { return value.empty() ? json(nullptr) : json(value); }
template <typename T>
json write(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

// Python writes -Infinity, which JSON has not: such a bare word becomes a string.
std::string quote_infinities(const std::string& text) {
  std::string quoted;
  bool inside = false, escaped = false;  // in a string; after a backslash that is not escaped itself
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && !escaped) inside = !inside;
    escaped = inside && !escaped && text[i] == '\\';
    const bool minus = text.compare(i, 9, "-Infinity") == 0, plus = text.compare(i, 8, "Infinity") == 0;
    if (inside || !(minus || plus)) {
      quoted += text[i];
      continue;
    }
    quoted += minus ? "\"-Infinity\"" : "\"Infinity\"";
    i += minus ? 8 : 7;
  }
  return quoted;
}

json parse_object(const std::string& text, const std::string& file) {
  json object;
  try {
    object = json::parse(quote_infinities(text));
  } catch (const json::exception& error) { fail("{}: not valid JSON: {}", file, in_quotes(error.what())); }
  check(object.is_object(), "{}: is no JSON object", file);
  return object;
}

std::string class_of(const json& object, const std::string& file) {
  const auto found = object.find("_class_name");
  if (found == object.end() || found->is_null()) return "DDPMScheduler";
  check(found->is_string(), "{}: _class_name is {}, expected a string", file, found->dump());
  return found->get<std::string>();
}

void check_off(const json& object, const std::string& file) {
  for (const char* key : kMustBeOff) {
    const json value = object.value(key, json(false));
    check(value.is_null() || value == false, "{}: {} {} is not supported; it must be false", file, key, value.dump());
  }
}

void report_unknown(const json& object, const std::string& file, std::vector<std::string>& notices) {
  std::set<std::string> known(std::begin(kOtherKeys), std::end(kOtherKeys));
  for_each_key([&](const Key& key, auto) { known.insert(key.name); });
  for (const auto& [key, value] : object.items())
    if (!known.count(key)) notices.push_back(fmt::format("{}: {} is unknown and ignored", file, key));
}

template <typename T>
void read_checked(const json& value, const char* key, T& member, const std::string& where) {
  check(fits(value, member), "{}: {} is {}, expected {}", where, key, value.dump(), expected(member));
  read(value, member);
}

void check_name(const std::string& where, const char* key, const std::string& value,
                std::initializer_list<const char*> names) {
  if (std::find(names.begin(), names.end(), value) != names.end()) return;
  std::string list;
  for (const char* name : names) list += (list.empty() ? "" : ", ") + std::string(*name ? name : "none");
  fail("{}: {} {} is not supported; there are {}", where, key, in_quotes(value), list);
}

void check_names(const SchedulerConfig& c, const std::string& where) {
  check_name(where, "beta_schedule", c.beta_schedule,
             {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exp", "laplace"});
  check_name(where, "prediction_type", c.prediction_type, {"epsilon", "sample", "v_prediction"});
  check_name(where, "timestep_spacing", c.timestep_spacing, {"leading", "linspace", "trailing"});
  check_name(where, "final_sigmas_type", c.final_sigmas_type, {"zero", "sigma_min"});
  check_name(where, "interpolation_type", c.interpolation_type, {"linear", "log_linear"});
  check_name(where, "timestep_type", c.timestep_type, {"discrete", "continuous"});
}

// Why a key of the solvers changes nothing.
std::string idle_solver_reason(const SchedulerConfig& c, const std::string& key, bool ends_sigmas) {
  const bool solver = class_bit(c.class_name) == kDpm, spaces = key == "timestep_spacing" || key == "steps_offset";
  if (solver && (ends_sigmas || c.use_lu_lambdas) && (spaces || key == "lambda_min_clipped"))
    return "where sigmas are spaced anew over the whole schedule";
  if (key == "interpolation_type" && ends_sigmas && c.timestep_spacing == "linspace")
    return "where sigmas are spaced anew between the same two ends";
  if (key == "timestep_type" && c.prediction_type != "v_prediction") return "without prediction_type v_prediction";
  if (key != "solver_type" && key != "lower_order_final" && key != "euler_at_final") return "";
  if (c.solver_order == 1) return "with solver_order 1";
  return key == "euler_at_final" && c.final_sigmas_type == "zero"
             ? "with final_sigmas_type zero: that step is of order 1"
             : "";
}

// Why a key changes nothing; empty: it does, as far as the other keys go.
std::string idle_reason(const SchedulerConfig& c, const std::string& key) {
  const bool ends_sigmas = c.use_karras_sigmas || c.use_exponential_sigmas || c.use_beta_sigmas;
  const bool thresholds = c.thresholding && (class_bit(c.class_name) & kThresholded);
  if ((key == "sigma_min" || key == "sigma_max") && !ends_sigmas)
    return "without use_karras_sigmas, use_exponential_sigmas or use_beta_sigmas";
  if ((key == "dynamic_thresholding_ratio" || key == "sample_max_value") && !thresholds) return "without thresholding";
  if (key == "steps_offset" && c.timestep_spacing != "leading") return "without timestep_spacing leading";
  if (((key == "clip_sample" && c.clip_sample) || key == "clip_sample_range") && thresholds) return "with thresholding";
  if (key == "clip_sample_range" && !c.clip_sample) return "without clip_sample";
  return idle_solver_reason(c, key, ends_sigmas);
}

void check_betas(const SchedulerConfig& c, const std::string& where) {
  check(c.beta_start > 0 && c.beta_end < 1 && c.beta_end > 0 && c.beta_start < 1,
        "{}: beta_start {} and beta_end {}; a beta is above 0 and below 1", where, c.beta_start, c.beta_end);
  if (!c.trained_betas) return;
  check(static_cast<int64_t>(c.trained_betas->size()) == c.num_train_timesteps,
        "{}: trained_betas holds {} numbers, num_train_timesteps is {}", where, c.trained_betas->size(),
        c.num_train_timesteps);
  for (double beta : *c.trained_betas)
    check(beta > 0 && beta < 1, "{}: trained_betas holds {}; a beta is above 0 and below 1", where, beta);
}

}  // namespace

SchedulerConfig SchedulerConfig::defaults(const std::string& class_name) {
  SchedulerConfig c;
  c.class_name = class_name;
  const unsigned kind = class_bit(class_name);
  if (kind == kHeun) c.beta_start = 0.00085, c.beta_end = 0.012, c.clip_sample = false;
  if (kind == kDpm) c.variance_type = "";
  if (kind == kDpm || kind == kEuler || kind == kAncestral || kind == kHeun) c.timestep_spacing = "linspace";
  return c;
}

SchedulerConfig SchedulerConfig::from_json(const std::string& text, const std::string& file,
                                           std::vector<std::string>& notices) {
  const json object = parse_object(text, file);
  SchedulerConfig config = defaults(class_of(object, file));
  config.source = text;
  for_each_key([&](const Key& key, auto member) {
    const auto found = object.find(key.name);
    if (found == object.end() || (found->is_null() && !(key.known & class_bit(config.class_name)))) return;
    if (found->is_null() && may_be_null(config, key.name)) return;
    const bool read_as_null = found->is_null() && !is_counted(key.name) && read_null(config.*member);
    if (!read_as_null) read_checked(*found, key.name, config.*member, file);
    config.given.insert(key.name);
  });
  check_off(object, file);
  report_unknown(object, file, notices);
  config.check(file);
  return config;
}

std::string SchedulerConfig::to_json() const {
  if (is_elsewhere(class_name) && !source.empty()) return quote_infinities(source);
  json object = {{"_class_name", class_name}};
  for_each_key([&](const Key& key, auto member) {
    const json value = write(this->*member);
    const bool wanted = (key.known & class_bit(class_name)) || given.count(key.name);
    if (wanted && !value.is_null()) object[key.name] = value;
  });
  return object.dump(2) + "\n";
}

std::string SchedulerConfig::to_file() const {
  return is_elsewhere(class_name) && !source.empty() ? source : to_json();
}

SchedulerConfig SchedulerConfig::as(const std::string& other) const {
  SchedulerConfig to = defaults(other);
  if (is_elsewhere(other)) to.source = source;
  const SchedulerConfig from_default = defaults(class_name);
  for_each_key([&](const Key& key, auto member) {
    if (!given.count(key.name) && this->*member == from_default.*member) return;
    to.given.insert(key.name);
    to.*member = this->*member;
  });
  return to;
}

void SchedulerConfig::set(const std::string& key, const std::string& value, const std::string& where) {
  bool known = false;
  json parsed = json::parse(quote_infinities(value), nullptr, false);
  if (parsed.is_discarded()) parsed = value;
  for_each_key([&](const Key& k, auto member) {
    if (k.name != key || !(k.known & class_bit(class_name))) return;
    known = true;
    read_checked(parsed, k.name, this->*member, where);
  });
  stipple::check(known, "{}: {} takes no {}", where, class_name, key);
  if (key == "variance_type" && class_bit(class_name) == kDpm)
    check_name(where + ": " + class_name, "variance_type", variance_type, {"learned", "learned_range"});
  given.insert(key);
}

void SchedulerConfig::check_used(const std::string& key, const std::string& where) const {
  const std::string reason = idle_reason(*this, key);
  stipple::check(reason.empty(), "{}: {} changes nothing {}", where, key, reason);
}

void SchedulerConfig::check(const std::string& where) const {
  constexpr int64_t kMostTimesteps = 1'000'000;
  check_names(*this, where);
  check_betas(*this, where);
  stipple::check(num_train_timesteps >= 1 && num_train_timesteps <= kMostTimesteps,
                 "{}: num_train_timesteps is {}; 1 to {} are possible", where, num_train_timesteps, kMostTimesteps);
  stipple::check(dynamic_thresholding_ratio >= 0 && dynamic_thresholding_ratio <= 1,
                 "{}: dynamic_thresholding_ratio is {}, a quantile is in 0 to 1", where, dynamic_thresholding_ratio);
  stipple::check(clip_sample_range > 0 && sample_max_value > 0,
                 "{}: clip_sample_range {} and sample_max_value {} must be positive", where, clip_sample_range,
                 sample_max_value);
}

}  // namespace stipple
