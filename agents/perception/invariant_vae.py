"""A variational autoencoder that tells what a patch holds from how it lies.

A patch is a picture in a canonical frame, decoded from a few content latents z, then, where
asked, scaled and shifted, and turned, and blurred by noise.  Content and pose are separated as
in spatial-VAE (Bepler et al., *NeurIPS* 2019) and in the rVAE of atomically resolved images
(Kalinin, Dyck, Jesse & Ziatdinov, *Science Advances* 7, 2021, eabd5084; Ziatdinov & Kalinin,
arXiv:2104.10180); the bound on the likelihood is that of Kingma & Welling (*ICLR* 2014).  Three
things are done otherwise than there:

- **The angle is summed over, not encoded.**  Its prior is uniform on the circle, since nothing
  is known of it, and on rings (``canonical``) the likelihood is had for all turns at once, so
  the posterior of the angle is exact: a softmax, as in the maximum-likelihood alignment of
  single particles (Sigworth, *Journal of Structural Biology* 122, 1998, 328).  A Gaussian about
  0 (in AtomAI of 0.1 rad) has to be overcome by every patch that is turned further, and knows
  nothing of 359 degrees being near to 0.
- **The encoder cannot see the angle.**  It convolves along the rings and takes the magnitudes
  of the angular harmonics, which a turn leaves as they are; so the content is invariant by
  construction, but for what interpolation does to a picture that is turned: that it is trained
  to overlook (``loss``).  Offset and scale are encoded in the canonical frame, where a turn
  leaves them as they are too.
- **The picture is decoded once**, by a dense network, and not coordinate by coordinate.

Priors: content N(0, 1) each; offset N(0, 0.1) of the side along either axis and the logarithm of
the scale N(0, 0.1), as Bepler et al. and AtomAI have the former.  The noise's variance is that of
the residuals, a running mean (Rybkin et al., *ICML* 2021).  The divergence from the priors is
annealed from 0 (``vae_training``), lest the content latents die before the decoder has learned
to use them (Bowman et al., *CoNLL* 2016).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .array_files import Arrays
from .canonical import ANGLES, HARMONICS, Rings, turn_of

Patches = NDArray[np.float32]
SIDE = 32  # px
CHANNELS, HIDDEN, WIDTH = 24, 96, 64
POSE = 0.1  # widths of the priors of offset, in sides, and log-scale
NARROWEST, WIDEST = -12.0, 4.0  # of the logarithms of posterior variances
CLEANEST = 1e-3  # of the patches' variance; residuals below it count as if they were as large
ALIKE = 3.0  # weight of a picture and its turned copy having the same content; 10 stifles latents
KEPT = 0.9  # of the running mean of the residuals
AT_ONCE = 500  # patches; of more the intermediate results leave the processor's cache
MOST_LATENTS, LARGEST = 32, 128  # a network of a damaged file must not fill the memory


class Inferred(NamedTuple):
    """What a network makes of n patches.

    Attributes:
        content: (n, latents), posterior means; N(0, 1) by the prior.
        width: (n, latents), posterior standard deviations.
        angle_rad: (n,) from 0 to 2 pi, from the columns' axis towards the rows': by how much the
            picture in the canonical frame is turned.  Of a patch with an n-fold axis it
            is one of n.
        offset: (n, 2) as (y, x), in sides, in the canonical frame, before the turn.
        log_scale: (n,).
        residual: (n,), the mean squared error, as a share of the variance of all patches.
    """

    content: NDArray[np.float32]
    width: NDArray[np.float32]
    angle_rad: NDArray[np.float32]
    offset: NDArray[np.float32]
    log_scale: NDArray[np.float32]
    residual: NDArray[np.float32]


class InvariantVAE(nn.Module):
    """The network: encoder, decoder, and what both are of one mind about.

    Args:
        latents: of the content.
        translation: shifts by some tenth of the side are no content.
        scale: changes of scale by some tenth are no content.
        skip: every layer of the decoder is given the latents, as AtomAI has it as an option.
        side: of the patches in px; even.
        seed: of the weights that it begins with.

    Raises:
        ValueError: no or too many latents, or a side that is odd, too small or too large.
    """

    variance: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(
        self,
        latents: int = 2,
        translation: bool = False,
        scale: bool = False,
        skip: bool = False,
        side: int = SIDE,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 1 <= latents <= MOST_LATENTS:
            raise ValueError(f"{latents} latents; there must be 1 to {MOST_LATENTS}")
        if not 8 <= side <= LARGEST or side % 2:
            raise ValueError(f"patches of {side} px; their side must be even, from 8 to {LARGEST}")
        self.latents, self.side = latents, side
        self.translation, self.scale, self.skip = translation, scale, skip
        self.poses = 2 * translation + scale
        self.rings = Rings(side)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.along = nn.Sequential(
                nn.Conv1d(self.rings.count, CHANNELS, 5, padding=2, padding_mode="circular"),
                nn.SiLU(),
            )
            self.mixed = nn.Linear(CHANNELS, CHANNELS, bias=False)
            self.across = nn.Sequential(
                nn.Linear(CHANNELS * HARMONICS, HIDDEN),
                nn.SiLU(),
                nn.Linear(HIDDEN, 2 * (latents + self.poses)),
            )
            given = latents if skip else 0
            self.layers = nn.ModuleList(
                [
                    nn.Linear(latents, WIDTH),
                    nn.Linear(WIDTH + given, WIDTH),
                    nn.Linear(WIDTH + given, side * side),
                ]
            )
        self.register_buffer("variance", torch.ones(()))  # of the noise
        self.register_buffer("middle", torch.zeros(()))  # of the patches, as they come
        self.register_buffer("spread", torch.ones(()))

    @property
    def invariances(self) -> str:
        """By their names, rotation first."""
        more = {"translation": self.translation, "scale": self.scale}
        return " ".join(["rotation", *(name for name, there in more.items() if there)])

    def standard(self, patches: Tensor) -> Tensor:
        """Patches (n, side, side), as they come, less their mean, in their standard deviation."""
        return (patches - self.middle) / self.spread

    def see(self, patches: Tensor) -> Tensor:
        """Patches (n, side, side), as they come, on the rings (n, rings, angles)."""
        return self.rings.see(self.standard(patches))

    def encode(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances (n, latents + poses) of what ``see`` gives."""
        waves = self.mixed((self.along(seen * self.rings.disc[:, None]) @ self.rings.waves).mT)
        cosines, sines = waves.chunk(2, dim=1)
        strengths = torch.sqrt(cosines**2 + sines**2 + 1e-6)
        means, variances = self.across(strengths.flatten(1)).chunk(2, dim=1)
        return means, variances.clamp(NARROWEST, WIDEST)

    def decode(self, content: Tensor) -> Tensor:
        """Pictures (n, side, side), standardised, in the canonical frame."""
        found = nn.functional.silu(self.layers[0](content))
        for layer in list(self.layers)[1:]:
            if self.skip:
                found = torch.cat([found, content], dim=1)
            last = layer is self.layers[-1]
            found = layer(found) if last else nn.functional.silu(layer(found))
        return found.reshape(-1, self.side, self.side)

    def errors(self, seen: Tensor, latents: Tensor) -> Tensor:
        """Squared errors (n, angles) of what is decoded from latents (n, latents + poses)."""
        offset, log_scale = self.pose(latents)
        shown = self.rings.see(self.decode(latents[:, : self.latents]), offset, log_scale)
        return self.rings.errors(seen, shown)

    def pose(self, latents: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Offset (n, 2) in sides and log-scale (n,); None what is not asked for."""
        poses = POSE * latents[:, self.latents :]
        return (
            poses[:, :2] if self.translation else None,
            poses[:, -1] if self.scale else None,
        )

    def loss(
        self, pictures: Tensor, noise: Tensor, moves: Tensor, turns: Tensor, weight: float
    ) -> Tensor:
        """Minus the bound on the logarithm of the likelihood, by px, up to a constant.

        The content is encoded from a copy that is turned at random, and moved where shift or scale
        are no content, so that it can tell nothing of them, nor of what interpolation does to a
        picture that is turned; offset and scale from the picture itself.  That the picture and
        its copy should have the same content is asked for besides, ``ALIKE`` times: the divergence
        between two posteriors as wide as each other.  Updates the variance of the noise as it goes.

        Args:
            pictures: (n, side, side), standardised.
            noise: (n, latents + poses), drawn from N(0, 1).
            moves: (n, latents + poses), likewise; what moves the copies.
            turns: (n,) in radians; what turns them.
            weight: of the divergence from the priors.
        """
        seen = self.rings.see(pictures)
        own = self.encode(seen)
        copies = self.encode(self.rings.see(self.rings.posed(pictures, turns), *self.pose(moves)))
        is_content = torch.arange(self.latents + self.poses) < self.latents
        means, variances = (
            torch.where(is_content, of_copy, of_own)
            for of_copy, of_own in zip(copies, own, strict=True)
        )
        apart = (
            0.5 * ALIKE * ((copies[0] - own[0]) ** 2 * torch.exp(-copies[1].detach()) * is_content)
        )
        errors = self.errors(seen, means + torch.exp(0.5 * variances) * noise)
        precision = 0.5 / self.variance.clamp(min=CLEANEST)
        with torch.no_grad():
            expected = (torch.softmax(-errors * precision, dim=1) * errors).sum(dim=1).mean()
            self.variance.mul_(KEPT).add_((1 - KEPT) * expected / self.rings.pixels)
        likelihood = torch.logsumexp(-errors * precision, dim=1) - math.log(ANGLES)
        divergence = 0.5 * (means**2 + torch.exp(variances) - 1.0 - variances).sum(dim=1)
        bound = weight * divergence - likelihood + apart.sum(dim=1)
        return bound.mean() / self.rings.pixels

    @torch.no_grad()
    def infer(self, patches: Patches) -> Inferred:
        """Content and pose of patches (n, side, side), as they come."""
        seen = self.see(torch.as_tensor(patches))
        means, variances = self.encode(seen)
        errors = self.errors(seen, means)
        offset, log_scale = self.pose(means)
        return Inferred(
            means[:, : self.latents].numpy(),
            torch.exp(0.5 * variances[:, : self.latents]).numpy(),
            turn_of(errors).numpy(),
            np.zeros((len(means), 2), np.float32) if offset is None else offset.numpy(),
            np.zeros(len(means), np.float32) if log_scale is None else log_scale.numpy(),
            (errors.min(dim=1).values / self.rings.pixels).numpy(),
        )

    @torch.no_grad()
    def reconstructed(self, patches: Patches) -> Patches:
        """What patches (n, side, side) become by encoding and decoding, turned as they are.

        In their units; at the edge of the disc, where little is seen, little was learned.
        """
        seen = self.see(torch.as_tensor(patches))
        means, _ = self.encode(seen)
        turn = turn_of(self.errors(seen, means))
        posed = self.rings.posed(self.decode(means[:, : self.latents]), turn, *self.pose(means))
        return np.asarray((posed * self.spread + self.middle).numpy())

    @torch.no_grad()
    def content(self, patches: Patches) -> NDArray[np.float32]:
        """The content (n, latents) alone, without decoding anything."""
        parts = torch.split(torch.as_tensor(patches), AT_ONCE) if len(patches) else []
        found = [self.encode(self.see(part))[0][:, : self.latents] for part in parts]
        return np.asarray(torch.cat(found).numpy() if found else np.empty((0, self.latents), "f4"))

    @torch.no_grad()
    def pictures(self, content: NDArray[Any]) -> Patches:
        """Pictures (n, side, side) of content (n, latents), through the disc, as patches are."""
        decoded = self.decode(torch.as_tensor(content, dtype=torch.float32))
        return np.asarray(((decoded * self.spread + self.middle) * self.rings.picture).numpy())

    def walk(self, count: int = 7, reach: float = 2.0) -> Patches:
        """Pictures (count, count, side, side) over the plane of the first two latents.

        Rows run along the first, from -reach to reach, and columns along the second, if there
        is one; other latents are 0.
        """
        steps = np.linspace(-reach, reach, count)
        content = np.zeros((count, count, self.latents))
        content[..., 0] = steps[:, None]
        if self.latents > 1:
            content[..., 1] = steps
        shown = self.pictures(content.reshape(-1, self.latents))
        return shown.reshape(count, count, self.side, self.side)

    def arrays(self) -> Arrays:
        """All that it has learned."""
        return {k: v.detach().numpy().copy() for k, v in self.state_dict().items()}

    def take(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Go on from what another has learned.

        Raises:
            ValueError: arrays of other names or shapes, or with what is no number.
        """
        wanted = {k: tuple(v.shape) for k, v in self.state_dict().items()}
        given = {k: v.shape for k, v in arrays.items()}
        if given != wanted:
            wrong = sorted(k for k in {*wanted, *given} if wanted.get(k) != given.get(k))
            raise ValueError(
                f"weights of another network; these are missing, foreign or of another shape: "
                f"{', '.join(wrong)}"
            )
        if not all(np.isfinite(v).all() for v in arrays.values()):
            raise ValueError("weights that are no numbers")
        self.load_state_dict({k: torch.tensor(v) for k, v in arrays.items()})
