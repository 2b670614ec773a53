"""The input and output of `stipple forward`, computed by diffusers: one place that runs a U-Net forward and backward.

In (NCHW): sample, timestep, optional class_labels, optional grad_output. Out: output and, with grad_output, grad.sample
and grad.<parameter> of sum(output * grad_output).
"""

import torch
from diffusers import UNet2DModel


def draw_inputs(
    model: UNet2DModel,
    generator: torch.Generator,
    batch: int,
    height: int,
    width: int,
    fractional_timesteps: bool = False,
) -> dict[str, torch.Tensor]:
    config = model.config
    steps = config.num_train_timesteps or 1000
    inputs = {
        "sample": torch.randn(batch, config.in_channels, height, width, generator=generator),
        "timestep": torch.randint(1, steps, (batch,), generator=generator),
        "grad_output": torch.randn(batch, config.out_channels, height, width, generator=generator),
    }
    if fractional_timesteps:
        inputs["timestep"] = inputs["timestep"] - 0.25
    if config.num_class_embeds is not None:
        inputs["class_labels"] = torch.randint(0, config.num_class_embeds, (batch,), generator=generator)
    elif config.class_embed_type == "timestep":
        inputs["class_labels"] = torch.randint(1, steps, (batch,), generator=generator)
    elif config.class_embed_type == "identity":
        width = model.time_embedding.linear_2.out_features
        inputs["class_labels"] = torch.randn(batch, width, generator=generator)
    return inputs


@torch.no_grad()
def randomise(model: UNet2DModel) -> None:
    """Moves what PyTorch initialises so that it would hide a mistake."""
    for path, parameter in model.named_parameters():
        if "norm" in path:  # 1 and 0: a gain or offset forgotten
            parameter.add_(0.3 * torch.randn_like(parameter))
        elif ".to_q." in path or ".to_k." in path:  # scores near 0: a softmax that is a mean
            parameter.mul_(3)


def run(model: UNet2DModel, inputs: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The answer at the given precision. The model is left in that precision, without gradients."""
    model = model.to(dtype).eval()
    model.zero_grad()
    # Whole timesteps would have their logarithm taken in f32 always.
    by_level = model.config.time_embedding_type == "fourier"
    levels = {"timestep"} | ({"class_labels"} if model.config.class_embed_type == "timestep" else set())
    given = {
        name: x.to(dtype) if x.is_floating_point() or (by_level and name in levels) else x for name, x in inputs.items()
    }
    sample = given["sample"].clone().requires_grad_()
    # Sines and cosines come in f32 always, and class_embed_type "timestep" forgets to convert them.
    in_model_dtype = model.time_proj.register_forward_hook(lambda module, arguments, embedding: embedding.to(dtype))
    output = model(sample, given["timestep"], given.get("class_labels")).sample
    in_model_dtype.remove()
    results = {"output": output.detach()}
    if "grad_output" in given:
        output.backward(given["grad_output"])
        results["grad.sample"] = sample.grad
        results |= {f"grad.{name}": gradient(p) for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return results


def gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach()
