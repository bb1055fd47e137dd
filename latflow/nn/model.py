"""The joint density of a frame's collective variables and of the state it will be in.

    p(z, s | T) = p(s | z) p(z | T),        p(z | T) = p(f(z); tilt, T / T_ref) |det df/dz|

with z drawn from the encoder q(z | x) = N(mu(x), diag(sigma^2)). A pair of frames (x, x') one
lagtime apart, the first at temperature T, the second in state s, has the loss

    L = E_q[ -log p(s | z) ] + bottleneck E_q[ log q(z | x) - log p(z | T) ]

and the pairs together the loss mean(L) - kinetic VAMP-2(mu(x), mu(x')).

Sources: Qiu, John, Herron, Tiwary, Latent thermodynamic flows, arXiv:2507.03174, with the entropy
of q kept in every stage: without it the encoder would shrink its scale without bound. VAMP-2: Wu,
Noé, J. Nonlinear Sci. 30, 23 (2020). It is no part of the paper's loss (kinetic = 0), which leaves
components undetermined that the states do not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from latflow.nn.distributions import TiltedGaussian
from latflow.nn.flows import Flow
from latflow.nn.networks import Decoder, Encoder

RIDGE = 1e-4


class LatentModel(nn.Module):
    """Encoder q(z | x), decoder p(s | z), flow f and tilted base.

    Parameters
    ----------
    n_features, n_components, n_states : int
    encoder_features : sequence of int
        Hidden layers of mu(x); empty for a linear encoder.
    decoder_features, flow_features : sequence of int
        Hidden layers of the decoder and of each coupling.
    n_transforms : int
    transform : {"spline", "affine"}
    tilt, bound : float
        Tilt of the base, and half the side of the flow's box.
    generator : torch.Generator
        The only source of the initial weights.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_components: int,
        n_states: int,
        encoder_features: Sequence[int],
        decoder_features: Sequence[int],
        flow_features: Sequence[int],
        n_transforms: int,
        transform: str,
        tilt: float,
        bound: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tilt = tilt
        self.n_components = n_components
        self._config = {
            "n_features": n_features,
            "n_components": n_components,
            "encoder_features": list(encoder_features),
            "decoder_features": list(decoder_features),
            "flow_features": list(flow_features),
            "n_transforms": n_transforms,
            "transform": transform,
            "tilt": tilt,
            "bound": bound,
        }
        self.encoder = Encoder(n_features, n_components, encoder_features, generator)
        self.decoder = Decoder(n_components, n_states, decoder_features, generator)
        self.flow = Flow(n_components, n_transforms, transform, flow_features, 0, bound, generator)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build a model of this shape, states as they are now."""
        return self._config | {"n_states": self.decoder.n_states}

    def read_through(self, directions: Tensor) -> None:
        """Let the encoder read x from now on, where it was trained on y = x @ directions."""
        self.encoder.read_through(directions)
        self._config["n_features"] = len(directions)

    def base(self, t: ArrayLike) -> TiltedGaussian:
        """Return the flow's base at reduced temperature t = T / T_ref."""
        return TiltedGaussian(self.n_components, self.tilt, t)

    def log_density(self, z: Tensor, base: TiltedGaussian) -> Tensor:
        """Return log p(z | T), shape (n,)."""
        u, logdet = self.flow.forward_and_logdet(z)
        return base.log_prob(u) + logdet

    def loss(
        self,
        x: Tensor,
        later: Tensor,
        state: Tensor,
        noise: Tensor,
        base: TiltedGaussian,
        weights: Tensor,
        *,
        bottleneck: float,
        kinetic: float,
        flow: bool,
    ) -> Tensor:
        """Return the loss of pairs of frames (x, later), a scalar; their weights average 1.

        Without `flow` f is the identity: the loss of label refinement, before the flow exists.
        """
        if kinetic:
            mean, mean_later = self.encoder(torch.cat([x, later])).split(len(x))
        else:
            mean = self.encoder(x)
        value: Tensor = (
            weights * self.pair_loss(mean, state, noise, base, bottleneck, flow)
        ).mean()
        return value - kinetic * vamp2(mean, mean_later, weights) if kinetic else value

    def pair_loss(
        self,
        mean: Tensor,
        state: Tensor,
        noise: Tensor,
        base: TiltedGaussian,
        bottleneck: float,
        flow: bool = True,
    ) -> Tensor:
        """Return L for every pair, from mu(x); `flow` as for :meth:`loss`."""
        z, log_q = self.encoder.noisy(mean, noise)
        log_prior = self.log_density(z, base) if flow else base.log_prob(z)
        cross_entropy: Tensor = -self.decoder(z).gather(1, state.unsqueeze(1)).squeeze(1)
        return cross_entropy + bottleneck * (log_q - log_prior)


def vamp2(z: Tensor, later: Tensor, weights: Tensor) -> Tensor:
    """Return 1 + the squared Frobenius norm of C00^(-1/2) C01 C11^(-1/2) over weighted pairs.

    A slight ridge keeps collinear components finite.
    """
    d = z.shape[1]
    weights = (weights / weights.sum().clamp_min(torch.finfo(z.dtype).tiny)).unsqueeze(1)
    both = torch.cat([z, later], dim=1)
    both = both - (weights * both.detach()).sum(dim=0)  # a covariance is flat in the mean
    covariance = (weights * both).T @ both
    c00, c01, c11 = covariance[:d, :d], covariance[:d, d:], covariance[d:, d:]
    own, across = torch.stack([c00, c11]), torch.stack([c01, c01.T])
    spread = own.diagonal(dim1=1, dim2=2).mean(dim=1).view(2, 1, 1)
    ridge = RIDGE * (spread + RIDGE) * torch.eye(d, dtype=z.dtype, device=z.device)
    left, right = torch.linalg.solve(own + ridge, across)
    value: Tensor = 1 + (left * right.T).sum()
    return value
