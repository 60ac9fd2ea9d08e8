"""The policy as a network: a preference for each frame that may be taken.

Fully convolutional, so that what is learned on fields of one size serves others.  Preferences
begin at those of the greedy navigator: the logarithm of what can be expected, and what the
network adds is nothing at first.  So training can only find where greed is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from .outlook import CHANNELS
from .own_belief import OwnBelief
from .rehearsal import lattice_shape

WIDTH = 16
DILATIONS = (1, 2, 4)
GREED = 3.0  # of the logarithm of what can be expected: how much it counts at first
LEAST = 1e-3  # of a fair share: what is expected less is as little
LATENT = 32  # numbers that the value is made of
ALGORITHMS = ("ppo", "maskable-ppo", "recurrent-ppo", "dqn", "sac")


class Trunk(nn.Module):
    """Maps to as many maps: residual convolutions, and what the whole field is like.

    Args:
        width: maps within.
        dilations: of the convolutions after the first.

    Attributes:
        brief: calculates in bfloat16, which takes a third of the time and is as good for training.
    """

    def __init__(self, width: int = WIDTH, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.brief = False
        self.first = nn.Conv2d(len(CHANNELS), width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations
        )
        self.whole = nn.Linear(width, width)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.brief):
            x = torch.relu(self.first(maps))
            for k, block in enumerate(self.blocks):
                x = x + torch.relu(block(x))
                if k == len(self.blocks) // 2:
                    x = x + torch.relu(self.whole(x.mean(dim=(2, 3))))[:, :, None, None]
        return x.float()

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """The whole field as (n, 2 x width) numbers: means and maxima of the maps."""
        x = self(maps)
        return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)


class Preference(nn.Module):
    """Preferences (n, rows x columns) of frames, from an outlook over them.

    Args:
        width, dilations: of the trunk.
        own: a belief that is trained with it; a copy is. The outlook is to be whole then.
    """

    def __init__(
        self,
        width: int = WIDTH,
        dilations: Sequence[int] = DILATIONS,
        own: OwnBelief | None = None,
    ) -> None:
        super().__init__()
        self.own = copy.deepcopy(own)
        self.trunk = Trunk(width, dilations)
        self.last = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.greed = nn.Parameter(torch.tensor(GREED))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.among(self.maps(given))

    def maps(self, given: torch.Tensor) -> torch.Tensor:
        """The outlook (n, CHANNELS, rows, columns) over frames, by its own belief if it has one."""
        if self.own is None:
            return given
        told: torch.Tensor = self.own(given)
        return told

    def among(self, maps: torch.Tensor) -> torch.Tensor:
        """Preferences by maps (n, CHANNELS, rows, columns)."""
        expected = maps[:, CHANNELS.index("expected")].clamp(min=LEAST)
        logits = self.last(self.trunk(maps))[:, 0] + self.greed * torch.log(expected)
        return torch.flatten(logits, 1)


class Heads(nn.Module):
    """Actor and critic, as Stable-Baselines3 asks for them.

    They share nothing but the actor's own belief if it has one, which the critic leaves as it is.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int,
        dilations: Sequence[int],
        own: OwnBelief | None = None,
    ) -> None:
        super().__init__()
        self.actor = Preference(width, dilations, own)
        self.critic = Trunk(width, dilations)
        self.pooled = nn.Linear(2 * width, LATENT)
        frames = shape[1:] if own is None else lattice_shape(shape[1:])
        self.latent_dim_pi, self.latent_dim_vf = int(np.prod(frames)), LATENT

    def forward(self, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.actor.maps(given)
        return self.actor.among(maps), self._valued(maps)

    def forward_actor(self, given: torch.Tensor) -> torch.Tensor:
        preferred: torch.Tensor = self.actor(given)
        return preferred

    def forward_critic(self, given: torch.Tensor) -> torch.Tensor:
        return self._valued(self.actor.maps(given))

    def _valued(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.pooled(self.critic.pooled(maps.detach())))


class AsGiven(BaseFeaturesExtractor):
    """Observations as they are."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, int(np.prod(observation_space.shape)))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return observations


class Sized:
    """A policy of Stable-Baselines3 with trunks of its own: mixed into its class.

    Args:
        width, dilations: of the trunks.
        own: a belief that is trained with the actor.
        brief: let the trunks calculate in bfloat16.
        options: of the class it is mixed into.
    """

    fixed: ClassVar[dict[str, Any]]  # options that nobody else decides

    def __init__(
        self,
        *args: Any,
        width: int = WIDTH,
        dilations: Sequence[int] = DILATIONS,
        own: OwnBelief | None = None,
        brief: bool = False,
        **options: Any,
    ) -> None:
        self.trunks: dict[str, Any] = {"width": width, "dilations": tuple(dilations), "own": own}
        self.brief = brief
        super().__init__(*args, **{**options, **self.fixed})
        for part in self.modules():  # type: ignore[attr-defined]
            if isinstance(part, Trunk):
                part.brief = brief

    def _get_constructor_parameters(self) -> dict[str, Any]:
        told: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        return {**told, **self.trunks, "brief": self.brief}


class OnFields(Sized):
    """Actor and critic on fields, in place of a policy's own."""

    fixed: ClassVar[dict[str, Any]] = {"features_extractor_class": AsGiven, "ortho_init": False}

    def _build_mlp_extractor(self) -> None:
        own: Any = self
        own.mlp_extractor = Heads(own.observation_space.shape, **self.trunks)

    def _build(self, lr_schedule: Any) -> None:
        own: Any = self
        super()._build(lr_schedule)  # type: ignore[misc]
        own.action_net = nn.Identity()
        own.optimizer = own.optimizer_class(
            own.parameters(), lr=lr_schedule(1), **own.optimizer_kwargs
        )


class FieldPolicy(OnFields, ActorCriticPolicy):
    """For PPO."""


class Pooled(BaseFeaturesExtractor):
    """The field as a few numbers, for algorithms that act otherwise than by frames."""

    def __init__(
        self,
        observation_space: spaces.Box,
        width: int = WIDTH,
        dilations: Sequence[int] = DILATIONS,
    ) -> None:
        super().__init__(observation_space, 2 * width)
        self.trunk = Trunk(width, dilations)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.trunk.pooled(observations)


class FieldQ(QNetwork):
    """Values of frames: the preferences, in the units of rewards."""

    def __init__(self, *args: Any, trunks: Mapping[str, Any], **options: Any) -> None:
        super().__init__(*args, **options)
        self.q_net = Preference(**trunks)  # type: ignore[assignment]


class FieldQPolicy(Sized, DQNPolicy):
    """For DQN."""

    fixed: ClassVar[dict[str, Any]] = {"features_extractor_class": AsGiven, "net_arch": []}

    def make_q_net(self) -> QNetwork:
        given = self._update_features_extractor(self.net_args, features_extractor=None)
        return FieldQ(trunks=self.trunks, **given).to(self.device)


POOLED: dict[str, Any] = {"features_extractor_class": Pooled}
# Algorithms whose network prefers frames, and can be asked for all its preferences.
AS_FRAMES = ("ppo", "maskable-ppo", "dqn")


def algorithm_of(name: str) -> tuple[type[Any], Any, dict[str, Any]]:
    """An algorithm's class, the policy that it trains on fields, and this one's arguments.

    Raises:
        ValueError: an unknown algorithm, or one of sb3-contrib where that is not installed.
    """
    if name in ("maskable-ppo", "recurrent-ppo"):
        try:
            import sb3_contrib
        except ImportError as error:
            raise ValueError(
                f"{name} is one of sb3-contrib's, which is not installed: "
                "pip install 'stemscout[train]'"
            ) from error
        if name == "recurrent-ppo":
            return sb3_contrib.RecurrentPPO, "MlpLstmPolicy", POOLED
        from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

        class MaskedFieldPolicy(OnFields, MaskableActorCriticPolicy):
            """For MaskablePPO."""

        return sb3_contrib.MaskablePPO, MaskedFieldPolicy, {}
    from stable_baselines3 import DQN, PPO, SAC

    known: dict[str, tuple[type[Any], Any, dict[str, Any]]] = {
        "ppo": (PPO, FieldPolicy, {}),
        "dqn": (DQN, FieldQPolicy, {}),
        "sac": (SAC, "MlpPolicy", POOLED),
    }
    if name not in known:
        raise ValueError(f"unknown algorithm {name!r}; there are: {', '.join(ALGORITHMS)}")
    return known[name]


def options_of(
    name: str, network: Mapping[str, Any], own: OwnBelief | None = None, brief: bool = False
) -> dict[str, Any]:
    """Arguments of the policy: ``width`` and ``dilations`` of its trunks, its own belief, and
    whether the trunks calculate in bfloat16."""
    _, _, options = algorithm_of(name)
    if options is POOLED:
        return {**options, "features_extractor_kwargs": dict(network)}
    return {**options, **network, "own": own, "brief": brief}
