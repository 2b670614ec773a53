#include "diffusion/denoiser.h"

namespace stipple {
namespace {

std::optional<Embedding> class_planes(Scope scope, const ConditioningConfig& c) {
  if (c.kind != ClassConditioning::channels) return {};
  return Embedding(scope, c.rows(), c.planes);
}

}  // namespace

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
