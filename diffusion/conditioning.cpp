#include "diffusion/conditioning.h"

#include "diffusion/json_fields.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

constexpr int64_t kMost = 1 << 20;  // a few bytes must not promise more than a machine can hold

}  // namespace

ClassConditioning class_conditioning(const std::string& name) {
  if (name == "none") return ClassConditioning::none;
  if (name == "embedding") return ClassConditioning::embedding;
  if (name == "channels") return ClassConditioning::channels;
  fail("class conditioning {} is unknown; there are none, embedding, channels", in_quotes(name));
}

const char* name_of(ClassConditioning kind) {
  switch (kind) {
    case ClassConditioning::none:
      return "none";
    case ClassConditioning::embedding:
      return "embedding";
    case ClassConditioning::channels:
      return "channels";
  }
  return "?";
}

int64_t ConditioningConfig::no_label() const {
  check(label_dropout,
        "guidance needs a network that was trained with label dropout (--label-dropout); this one was not");
  return classes;
}

void ConditioningConfig::check_labels(const Tensor& labels) const {
  check(kind != ClassConditioning::none || !labels,
        "labels were given, but the network was not conditioned on classes");
  if (kind == ClassConditioning::none) return;
  check(labels.defined(), "the network is conditioned on {} classes: labels are needed", classes);
  if (labels.device() != Device::cpu) return;  // the host would have to wait; a class that is not there gives NaN
  for (int64_t label : labels.to_vector<int64_t>())
    check(label >= 0 && label < rows(), "class {} is unknown: the network has {} classes, 0 to {}", label, classes,
          classes - 1);
}

ConditioningConfig ConditioningConfig::from_json(const std::string& text, const std::string& file,
                                                 std::vector<std::string>& notices) {
  JsonFields fields(text, file);
  ConditioningConfig c;
  std::string kind = "none";
  fields.read("class_conditioning", kind);
  try {
    c.kind = class_conditioning(kind);
  } catch (const Error& error) { fail("{}: {}", file, error.what()); }
  fields.read("classes", c.classes);
  fields.read("planes", c.planes);
  fields.read("label_dropout", c.label_dropout);
  fields.read("class_names", c.class_names);
  fields.report_unknown(notices);
  const int64_t least = c.kind == ClassConditioning::none ? 0 : 1;
  check(c.classes >= least && c.classes <= kMost, "{}: field 'classes' must be from {} to {}, it is {}", file, least,
        kMost, c.classes);
  check(c.planes >= 1 && c.planes <= kMost, "{}: field 'planes' must be from 1 to {}, it is {}", file, kMost, c.planes);
  return c;
}

std::string ConditioningConfig::to_json() const {
  nlohmann::ordered_json j;
  j["class_conditioning"] = name_of(kind);
  j["classes"] = classes;
  if (kind == ClassConditioning::channels) j["planes"] = planes;
  j["label_dropout"] = label_dropout;
  j["class_names"] = class_names;
  return j.dump(2) + "\n";
}

}  // namespace stipple
