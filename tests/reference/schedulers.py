"""Golden trajectories of diffusers' samplers on a toy network, and the tables of their noise schedules.

tests/fixtures/schedulers.json         the cases, numbered NNN by their place in the list: {"config": what
                                       scheduler_config.json would hold, "steps": n, "options": of step(), "timesteps"}
tests/fixtures/schedulers.safetensors  sample                          where every case starts, before init_noise_sigma
                                       noise.KKK                       the random tensor of the k-th call of step()
                                       case.NNN.step.KKK, .x0.KKK      state and predicted clean image after it
                                       alphas_cumprod.SCHEDULE
                                       noisy.SCHEDULE, velocity.SCHEDULE  at the .json's noisy_timesteps

The .json's "conversions" are what from_config() of the class "to" makes of the file "from": the keys of that class.

The network is x -> 0.8 x + 0.4 cos(2 x + t / 100), and where DDPM's variance is learned a second half of channels, x^2 / 10.

One in five square roots of f32 that PyTorch computes is not the nearest (MKL's are within .75 ulp). Where a timestep is cut
off to a whole number, its last bit decides between 998 and 999: these cases are drawn with the nearest.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import diffusers
import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SHAPE = (2, 2, 4, 4)
MOST_CALLS = 20
NOISY_TIMESTEPS = [0, 700]

COSINE = dict(beta_schedule="squaredcos_cap_v2")
SCALED = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
UNCLIPPED = dict(clip_sample=False)
THRESHOLD = dict(thresholding=True, dynamic_thresholding_ratio=0.87, sample_max_value=1.5)
ZERO_SNR = dict(rescale_betas_zero_snr=True, timestep_spacing="trailing")
V = dict(prediction_type="v_prediction")
X0 = dict(prediction_type="sample")
FEW_BETAS = dict(num_train_timesteps=8, trained_betas=[0.01, 0.02, 0.04, 0.08, 0.16, 0.3, 0.5, 0.7])

# (keys of the configuration, steps, options of step())
DDPM = [
    ({}, 10, {}),
    (UNCLIPPED, 10, {}),
    (dict(clip_sample_range=0.6), 5, {}),
    (X0, 5, {}),
    (V, 5, {}),
    (COSINE, 10, {}),
    (COSINE | V | UNCLIPPED, 5, {}),
    (SCALED | UNCLIPPED, 5, {}),
    (SCALED | X0, 5, {}),
    (dict(beta_schedule="sigmoid"), 5, {}),
    (dict(variance_type="fixed_small_log"), 5, {}),
    (dict(variance_type="fixed_large"), 5, {}),
    (COSINE | dict(variance_type="fixed_large"), 5, {}),
    (dict(variance_type="learned"), 4, {}),
    (dict(variance_type="learned_range"), 4, {}),
    (dict(timestep_spacing="linspace"), 7, {}),
    (dict(timestep_spacing="trailing"), 7, {}),
    (dict(steps_offset=1), 6, {}),
    (THRESHOLD, 5, {}),
    (THRESHOLD | V | COSINE, 5, {}),
    (ZERO_SNR, 5, {}),
    (ZERO_SNR | V, 5, {}),
    (ZERO_SNR | X0 | SCALED, 5, {}),
    (FEW_BETAS, 8, {}),
    (dict(num_train_timesteps=100, beta_end=0.1), 10, {}),
]
DDIM = [
    ({}, 10, {}),
    ({}, 10, {"eta": 1.0}),
    (UNCLIPPED, 10, {"eta": 0.5}),
    ({}, 5, {"use_clipped_model_output": True}),
    ({}, 5, {"use_clipped_model_output": True, "eta": 0.7}),
    (dict(clip_sample_range=0.6), 5, {}),
    (X0, 5, {}),
    (X0, 5, {"eta": 1.0}),
    (V, 5, {}),
    (V | COSINE | UNCLIPPED, 5, {"eta": 0.3}),
    (COSINE, 10, {}),
    (SCALED | UNCLIPPED | dict(set_alpha_to_one=False, steps_offset=1), 6, {}),
    (dict(set_alpha_to_one=False), 5, {"eta": 1.0}),
    (dict(timestep_spacing="linspace"), 7, {}),
    (dict(timestep_spacing="trailing"), 7, {"eta": 0.5}),
    (dict(steps_offset=1), 6, {}),
    (THRESHOLD, 5, {}),
    (THRESHOLD | X0 | COSINE, 5, {"use_clipped_model_output": True}),
    (ZERO_SNR | V, 5, {}),
    (ZERO_SNR, 5, {}),
    (ZERO_SNR | SCALED | dict(clip_sample_range=0.6), 5, {"eta": 0.5}),
    (ZERO_SNR | X0 | SCALED | UNCLIPPED, 5, {"eta": 1.0}),
    (FEW_BETAS, 4, {"eta": 0.5}),
    (dict(num_train_timesteps=100, beta_end=0.1), 3, {}),
]
TRAILING = dict(timestep_spacing="trailing")
LEADING = dict(timestep_spacing="leading", steps_offset=1)
KARRAS = dict(use_karras_sigmas=True)
EXPONENTIAL = dict(use_exponential_sigmas=True)
BETA = dict(use_beta_sigmas=True)
LU = dict(use_lu_lambdas=True)
SIGMA_MIN = dict(final_sigmas_type="sigma_min")
SOLVER_HEUN = dict(solver_type="heun")
FULL_ORDER = dict(lower_order_final=False)
DPM = dict(algorithm_type="dpmsolver") | SIGMA_MIN
SDE = dict(algorithm_type="sde-dpmsolver") | SIGMA_MIN
SDE_PLUS = dict(algorithm_type="sde-dpmsolver++")


def order(n: int) -> dict:
    return dict(solver_order=n)


DPM_SOLVER = [
    ({}, 10, {}),
    ({}, 20, {}),
    (order(1), 5, {}),
    (order(3), 8, {}),
    (order(3), 16, {}),
    (order(3) | FULL_ORDER | SIGMA_MIN, 8, {}),
    (SOLVER_HEUN, 8, {}),
    (SOLVER_HEUN | FULL_ORDER | SIGMA_MIN, 6, {}),
    (FULL_ORDER | SIGMA_MIN, 6, {}),
    (dict(euler_at_final=True), 6, {}),
    (dict(euler_at_final=True) | FULL_ORDER | SIGMA_MIN, 6, {}),
    (LEADING, 6, {}),
    (TRAILING, 6, {}),
    (SCALED | LEADING | order(3), 7, {}),
    (KARRAS, 6, {}),
    (KARRAS | V, 6, {}),
    (KARRAS | COSINE, 6, {}),
    (KARRAS | SIGMA_MIN | FULL_ORDER, 6, {}),
    (KARRAS | order(3), 16, {}),
    (LU, 6, {}),
    (LU | COSINE | X0, 6, {}),
    (EXPONENTIAL, 6, {}),
    (EXPONENTIAL | COSINE | V, 6, {}),
    (BETA, 6, {}),
    (BETA | SCALED | order(3), 8, {}),
    (V, 6, {}),
    (X0 | SOLVER_HEUN, 6, {}),
    (COSINE | V | dict(lambda_min_clipped=-5.1), 6, {}),
    (COSINE | dict(lambda_min_clipped=-5.1) | TRAILING, 6, {}),
    (THRESHOLD, 6, {}),
    (THRESHOLD | X0, 6, {}),
    (ZERO_SNR | V, 6, {}),
    (FEW_BETAS, 4, {}),
    (dict(algorithm_type="deis", solver_type="logrho") | SIGMA_MIN, 5, {}),
    (DPM | order(1), 6, {}),
    (DPM, 6, {}),
    (DPM | SOLVER_HEUN, 6, {}),
    (DPM | order(3), 8, {}),
    (DPM | order(3) | FULL_ORDER | V, 6, {}),
    (DPM | X0 | KARRAS, 6, {}),
    (DPM | THRESHOLD, 6, {}),
    (SDE_PLUS | order(1), 6, {}),
    (SDE_PLUS, 6, {}),
    (SDE_PLUS, 18, {}),
    (SDE_PLUS | SOLVER_HEUN | V, 6, {}),
    (SDE_PLUS | order(3), 8, {}),
    (SDE_PLUS | KARRAS | SIGMA_MIN | dict(euler_at_final=True), 6, {}),
    (SDE_PLUS | THRESHOLD | LEADING, 6, {}),
    (SDE | order(1), 6, {}),
    (SDE, 6, {}),
    (SDE | SOLVER_HEUN | X0, 6, {}),
    (SDE | EXPONENTIAL | TRAILING, 6, {}),
]
EULER = [
    ({}, 6, {}),
    (V, 6, {}),
    (X0, 6, {}),
    (COSINE | V, 6, {}),
    (SCALED | LEADING, 6, {}),
    (TRAILING, 6, {}),
    (KARRAS, 6, {}),
    (KARRAS | LEADING | V, 6, {}),
    (KARRAS | dict(sigma_min=0.05, sigma_max=20.0), 6, {}),
    (EXPONENTIAL, 6, {}),
    (EXPONENTIAL | SIGMA_MIN | TRAILING, 6, {}),
    (BETA, 6, {}),
    (BETA | SCALED | X0, 6, {}),
    (dict(interpolation_type="log_linear"), 6, {}),
    (dict(interpolation_type="log_linear") | KARRAS, 6, {}),
    (dict(interpolation_type="log_linear", timestep_type="continuous") | V, 6, {}),
    (dict(timestep_type="continuous") | V, 6, {}),
    (dict(timestep_type="continuous") | KARRAS | V, 6, {}),
    (SIGMA_MIN, 6, {}),
    (ZERO_SNR | V, 6, {}),
    ({}, 6, {"s_churn": 2.0, "s_noise": 1.01}),
    (V | SCALED, 6, {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 5.0}),
    (FEW_BETAS, 3, {}),
]
EULER_ANCESTRAL = [
    ({}, 6, {}),
    (V, 6, {}),
    (COSINE, 6, {}),
    (SCALED | LEADING, 6, {}),
    (TRAILING, 6, {}),
    (ZERO_SNR | V, 6, {}),
    (FEW_BETAS, 3, {}),
]
HEUN = [
    (dict(beta_start=0.0001, beta_end=0.02), 5, {}),
    ({}, 5, {}),
    (V, 5, {}),
    (X0, 5, {}),
    (KARRAS | dict(timestep_spacing="leading"), 5, {}),
    (EXPONENTIAL, 5, {}),
    (BETA | V, 5, {}),
    (COSINE, 5, {}),
    (dict(beta_schedule="exp"), 5, {}),
    (TRAILING | SCALED, 5, {}),
    (dict(clip_sample=True, clip_sample_range=0.8), 5, {}),
    (LEADING, 10, {}),
]
DDIM_INVERSE = [
    ({}, 10, {}),
    (UNCLIPPED, 10, {}),
    (UNCLIPPED | V, 5, {}),
    (V | COSINE, 5, {}),
    (dict(clip_sample_range=0.6), 5, {}),
    (dict(set_alpha_to_one=False), 5, {}),
    (dict(set_alpha_to_one=False) | X0 | SCALED, 5, {}),
    (TRAILING, 7, {}),
    (dict(steps_offset=1), 6, {}),
    (ZERO_SNR | V | UNCLIPPED, 5, {}),
]
CASES = [
    (scheduler, *case)
    for scheduler, cases in [
        ("DDPMScheduler", DDPM),
        ("DDIMScheduler", DDIM),
        ("DPMSolverMultistepScheduler", DPM_SOLVER),
        ("EulerDiscreteScheduler", EULER),
        ("EulerAncestralDiscreteScheduler", EULER_ANCESTRAL),
        ("HeunDiscreteScheduler", HEUN),
        ("DDIMInverseScheduler", DDIM_INVERSE),
    ]
    for case in cases
]

CUT_OFF = [
    ("DPMSolverMultistepScheduler", SCALED | dict(beta_start=0.0001) | EXPONENTIAL, 6, {}),
    ("DPMSolverMultistepScheduler", SCALED | dict(beta_start=0.0001) | BETA, 6, {}),
]

CLASSES = list(dict.fromkeys(name for name, *_ in CASES))
FILES = [
    {"_class_name": "DDPMScheduler"},
    {"_class_name": "DDPMScheduler", "variance_type": "fixed_large", "clip_sample": False, "timestep_spacing": "trailing"},
    {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "set_alpha_to_one": False, "steps_offset": 1, "thresholding": True},
    {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3, "use_karras_sigmas": True, "sample_max_value": 2.0},
    {"_class_name": "EulerDiscreteScheduler", "sigma_max": 30.0, "final_sigmas_type": "sigma_min", "prediction_type": "sample"},
    {"_class_name": "EulerAncestralDiscreteScheduler", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    {"_class_name": "HeunDiscreteScheduler", "clip_sample": True, "clip_sample_range": 2.0},
    {"_class_name": "DDIMInverseScheduler", "clip_sample": False, "beta_end": 0.01},
    {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1},
    {"_class_name": "DDPMScheduler", "solver_order": 1, "use_beta_sigmas": True, "timestep_type": "continuous"},
]

SCHEDULES = {
    "linear": {},
    "scaled_linear": SCALED,
    "squaredcos_cap_v2": COSINE,
    "sigmoid": dict(beta_schedule="sigmoid"),
    "laplace": dict(beta_schedule="laplace"),
    "linear_zero_snr": dict(rescale_betas_zero_snr=True),
    "scaled_linear_zero_snr": SCALED | dict(rescale_betas_zero_snr=True),
}


def network(x: torch.Tensor, t: torch.Tensor, variance: bool) -> torch.Tensor:
    y = 0.8 * x + 0.4 * torch.cos(2 * x + t.double() / 100)
    return torch.cat([y, x * x / 10], dim=1) if variance else y


def step(scheduler, prediction: torch.Tensor, t: torch.Tensor, x: torch.Tensor, noise: torch.Tensor, options: dict):
    """scheduler.step() with `noise` for whatever it draws."""
    if isinstance(scheduler, diffusers.DDIMScheduler) and options.get("eta", 0) > 0:
        return scheduler.step(prediction, t, x, variance_noise=noise, **options)
    with patch(f"{type(scheduler).__module__}.randn_tensor", lambda *_, **__: noise, create=True):
        return scheduler.step(prediction, t, x, **options)


def clean_image(scheduler, answer) -> torch.Tensor | None:
    if not isinstance(scheduler, diffusers.DPMSolverMultistepScheduler):
        return answer.pred_original_sample
    return scheduler.model_outputs[-1] if scheduler.config.algorithm_type.endswith("++") else None  # else it is noise


def begin(scheduler, steps: int) -> None:
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # else a first timestep that comes twice is skipped, and the walk ends in an error


def nearest_square_root(x: torch.Tensor, exponent: float) -> torch.Tensor:
    return x.double().pow(exponent).to(x.dtype)


def trajectory(scheduler, steps: int, options: dict, sample: torch.Tensor, noise: list) -> dict[str, torch.Tensor]:
    """Tables and coefficients are f32, as the library has them; the image is f64 wherever it lets it."""
    begin(scheduler, steps)
    variance = str(scheduler.config.get("variance_type")).startswith("learned")
    x, found = sample * scheduler.init_noise_sigma, {}
    for k, t in enumerate(scheduler.timesteps):
        prediction = network(scheduler.scale_model_input(x, t), t, variance)
        answer = step(scheduler, prediction, t, x, noise[k], options)
        x = answer.prev_sample
        found[f"step.{k:03}"] = x
        found[f"x0.{k:03}"] = clean_image(scheduler, answer)
    return {name: y.float() for name, y in found.items() if y is not None}


def tables(sample: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
    found = {}
    for name, keys in SCHEDULES.items():
        scheduler = diffusers.DDPMScheduler(**keys)
        t = torch.tensor(NOISY_TIMESTEPS)
        found[f"alphas_cumprod.{name}"] = scheduler.alphas_cumprod
        found[f"noisy.{name}"] = scheduler.add_noise(sample, noise, t).float()
        found[f"velocity.{name}"] = scheduler.get_velocity(sample, noise, t).float()
    return found


def conversion(file: dict, to: str) -> dict:
    cls = getattr(diffusers, to)
    known = cls._get_init_keys(cls)
    config = {key: value for key, value in cls.from_config(file).config.items() if key in known}
    return {"from": file, "to": to, "config": {k: v for k, v in config.items() if v not in (None, float("-inf"))}}


def listed(name: str, entries: list) -> str:
    lines = ",\n  ".join(json.dumps(entry) for entry in entries)
    return f'"{name}": [\n  {lines}\n]'


def main() -> None:
    diffusers.utils.logging.set_verbosity_error()
    generator = torch.Generator().manual_seed(0)
    sample, *noise = torch.randn(1 + MOST_CALLS + 1, *SHAPE, generator=generator).double()
    tensors = {"sample": sample.float()} | {f"noise.{k:03}": n.float() for k, n in enumerate(noise)}
    tensors |= tables(sample, noise[0])
    cases = []
    for number, (name, keys, steps, options) in enumerate(CASES + CUT_OFF):
        cut_off = number >= len(CASES)
        with patch.object(torch.Tensor, "__pow__", nearest_square_root) if cut_off else nullcontext():
            scheduler = getattr(diffusers, name)(**keys)
            path = trajectory(scheduler, steps, options, sample, noise)
        tensors |= {f"case.{number:03}.{key}": y for key, y in path.items()}
        if not all(torch.isfinite(y).all() for y in path.values()):
            raise SystemExit(f"case {number}, {name} {keys}: not finite")
        cases.append(
            {
                "config": {"_class_name": name} | keys,
                "steps": steps,
                "options": options,
                "timesteps": [t.item() for t in scheduler.timesteps],
            }
        )
    save_file(tensors, FIXTURES / "schedulers.safetensors")
    conversions = [conversion(file, to) for file in FILES for to in CLASSES]
    (FIXTURES / "schedulers.json").write_text(
        f'{{"noisy_timesteps": {NOISY_TIMESTEPS},\n{listed("cases", cases)},\n{listed("conversions", conversions)}}}\n'
    )
    print(f"{len(cases)} cases, {len(tensors)} tensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
