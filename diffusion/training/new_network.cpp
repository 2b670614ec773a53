#include "diffusion/training/new_network.h"

#include "diffusion/derive_unet.h"

namespace stipple {
namespace {

void check_classes_of(const Dataset& data, const ConditioningConfig& c, const TrainOptions& o) {
  check(data.labelled(), "--class-conditioning {}: the pictures of {} have no labels", name_of(c.kind), o.data);
  check(data.classes() <= c.classes, "{}: num_class_embeds is {}, but {} has {} classes{}", o.config, c.rows(), o.data,
        data.classes(), c.label_dropout ? " and --label-dropout takes one more row" : "");
}

// A configuration that embeds classes asks for them as the flag does, and may have room for more than the data has.
ConditioningConfig new_conditioning(const TrainOptions& o, const UNet2DConfig& config, const Dataset* data) {
  const bool embeds = config.class_embedding == ClassEmbedding::table;
  ConditioningConfig c;
  c.kind = o.class_conditioning.value_or(embeds ? ClassConditioning::embedding : ClassConditioning::none);
  check(!embeds || c.kind == ClassConditioning::embedding,
        "--class-conditioning {}: {} has num_class_embeds, which is embedding", name_of(c.kind), o.config);
  if (c.kind == ClassConditioning::none) return c;
  c.planes = o.class_planes.value_or(c.planes);
  c.label_dropout = o.steps.label_dropout > 0;
  c.classes = embeds ? *config.num_class_embeds - c.label_dropout : data ? data->classes() : 0;
  if (data) check_classes_of(*data, c, o), c.class_names = data->class_names;
  check(c.classes >= 1, "--replay with class conditioning needs a config with num_class_embeds, or --from");
  return c;
}

}  // namespace

NewNetwork new_network(const TrainOptions& o, const std::optional<UNet2DConfig>& given, const Dataset* data) {
  check(given || data, "--replay needs a network: give --from or --config");
  NewNetwork made{given ? *given : derive_unet(data->height, data->channels), {}};
  check_takes_classes(made.unet);
  made.conditioning = new_conditioning(o, made.unet, data);
  if (made.conditioning.kind == ClassConditioning::embedding) {
    made.unet.class_embedding = ClassEmbedding::table;
    made.unet.num_class_embeds = made.conditioning.rows();
  } else if (made.conditioning.kind == ClassConditioning::channels && made.unet.in_channels == made.unet.out_channels) {
    made.unet.in_channels += made.conditioning.planes;
  }
  return made;
}

}  // namespace stipple
