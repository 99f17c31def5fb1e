"""Adam's update for a gradient: the step that the optimizer would take on one row alone.

With m, v the optimizer's averages after t steps, and g the gradient of one row:

    m' = β1·m + (1−β1)·g      v' = β2·v + (1−β2)·g²
    adam      Γ = (m' / (1−β1^{t+1})) / (sqrt(v' / (1−β2^{t+1})) + ε)      AdamW's step without decay, over its rate
    release   Γ = m' / sqrt(v' + ε)                                        as computed by the code released with ROSE

Without momentum β1 is 0: g replaces m' (and its bias-corrected form); v' is unchanged. Source: ROSE,
https://arxiv.org/abs/2412.00631, after LESS, https://arxiv.org/abs/2402.04333.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from core.errors import ModelError
from core.models.lora import strip_peft_prefix
from core.models.training.checkpoints import MOMENT_NAMES, read_tensors

UpdateForm = Literal["adam", "release"]


@dataclass(frozen=True, eq=False)
class AdamMoments:
    """An optimizer's averages by parameter name (never by position), and the form of the update."""

    first: Mapping[str, Tensor]  # m
    second: Mapping[str, Tensor]  # v
    steps: int  # t, optimizer steps so far
    form: UpdateForm = "adam"
    momentum: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], steps: int, *, form: UpdateForm = "adam", momentum: bool = True
    ) -> Self:
        """Build the moments from the tensors of a moments.safetensors file of a checkpoint."""
        first, second = (
            {strip_peft_prefix(name.removesuffix(end)): value for name, value in tensors.items() if name.endswith(end)}
            for end in (f".{moment}" for moment in MOMENT_NAMES)
        )
        return cls(first, second, steps, form=form, momentum=momentum)

    @classmethod
    def from_file(cls, path: Path, steps: int, *, form: UpdateForm = "adam", momentum: bool = True) -> Self:
        """Load the moments from a moments.safetensors file."""
        return cls.from_tensors(read_tensors(path), steps, form=form, momentum=momentum)

    def build_update(self, shapes: Mapping[str, Iterable[int]], device: str) -> "AdamUpdate":
        """Prepare the update for these parameters; ModelError if moments are missing or of another shape."""
        beta1, beta2 = self.betas if self.momentum else (0.0, self.betas[1])
        adam = self.form == "adam"
        size1 = 1 - beta1 ** (self.steps + 1) if adam else 1.0
        size2 = 1 - beta2 ** (self.steps + 1) if adam else 1.0
        update = AdamUpdate((1 - beta1) / size1, (1 - beta2) / size2, self.epsilon if adam else 0.0)
        for name, shape in shapes.items():
            m, v = (self._of(moments, name, tuple(shape)).to(device) for moments in (self.first, self.second))
            update.above[name] = m * (beta1 / size1)
            update.below[name] = v * (beta2 / size2) + (0.0 if adam else self.epsilon)
        return update

    def _of(self, moments: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
        moment = moments.get(name)
        if moment is None or tuple(moment.shape) != shape:
            raise ModelError(
                f"The optimizer's moments hold nothing of the shape {shape} for {name}. "
                "Take the moments and the adapter from the same checkpoint."
            )
        return moment.float()


@dataclass(frozen=True, eq=False)
class AdamUpdate:
    """Γ = (above + c·g) / (sqrt(below + d·g²) + e), the common formula of all forms."""

    c: float
    d: float
    e: float
    above: dict[str, Tensor] = field(default_factory=dict)
    below: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, name: str, gradient: Tensor) -> Tensor:
        """Map a gradient (…, o, i) float32 to Γ of the same shape. Overwrites the gradient."""
        scale = torch.addcmul(self.below[name], gradient, gradient, value=self.d).sqrt_().add_(self.e)
        return gradient.mul_(self.c).add_(self.above[name]).div_(scale)
