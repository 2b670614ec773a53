#include "diffusion/denoiser.h"

#include "diffusion/json_fields.h"

namespace stipple {
namespace {

std::optional<Embedding> class_planes(Scope scope, const ConditioningConfig& c) {
  if (c.kind != ClassConditioning::channels) return {};
  return Embedding(scope, c.rows(), c.planes);
}

}  // namespace

ClassConditioning class_conditioning(const std::string& name) {
  if (name == "none") return ClassConditioning::none;
  if (name == "embedding") return ClassConditioning::embedding;
  if (name == "channels") return ClassConditioning::channels;
  fail("class conditioning '{}' is unknown; there are none, embedding, channels", name);
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
  c.kind = class_conditioning(kind);
  fields.read("classes", c.classes);
  fields.read("planes", c.planes);
  fields.read("label_dropout", c.label_dropout);
  fields.read("class_names", c.class_names);
  fields.report_unknown(notices);
  check(c.kind == ClassConditioning::none || c.classes >= 1, "{}: field 'classes' must be positive, it is {}", file,
        c.classes);
  check(c.planes >= 1, "{}: field 'planes' must be positive, it is {}", file, c.planes);
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

void check_takes_classes(const UNet2DConfig& unet) {
  check(unet.class_embedding == ClassEmbedding::none || unet.class_embedding == ClassEmbedding::table,
        "the network's class_embed_type is \"{}\": `stipple forward` can feed it, sampling and training cannot",
        unet.class_embedding == ClassEmbedding::timestep ? "timestep" : "identity");
}

Denoiser::Denoiser(Scope scope, const UNet2DConfig& unet_config, const ConditioningConfig& c)
    : conditioning(c), unet(scope, unet_config), class_emb(class_planes(scope / "class_emb", c)) {
  check(image_channels() >= 1, "unet: {} input channels leave none for the image beside {} class planes",
        unet_config.in_channels, c.planes);
  check(c.kind != ClassConditioning::embedding || unet_config.num_class_embeds == c.rows(),
        "unet: has {} rows of class embedding, but its conditioning needs {}", unet_config.num_class_embeds.value_or(0),
        c.rows());
}

int64_t Denoiser::image_channels() const { return unet.config.in_channels - (class_emb ? conditioning.planes : 0); }

Var Denoiser::operator()(const Var& x, const Tensor& timesteps, const Tensor& labels) const {
  check(x.value().rank() == 4 && x.dim(3) == image_channels(), "the network takes images of {} channels, got {}",
        image_channels(), describe(x.value()));
  if (!class_emb) return unet(x, timesteps, labels);
  conditioning.check_labels(labels);
  const Var row = reshape((*class_emb)(labels), {x.dim(0), 1, 1, conditioning.planes});
  const Var planes = broadcast_to(row, {x.dim(0), x.dim(1), x.dim(2), conditioning.planes});
  return unet(concat_channels(x, planes), timesteps);
}

}  // namespace stipple
