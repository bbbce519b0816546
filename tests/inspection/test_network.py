"""What the supervised autoencoder promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inspection.network import Architecture, SupervisedAutoencoder, nio_log_odds
from inspection.novelty import DESCRIPTION, describe

ARCHITECTURES: tuple[Architecture, ...] = ("residual", "plain")


@pytest.fixture(params=ARCHITECTURES)
def network(request: pytest.FixtureRequest) -> SupervisedAutoencoder:
    """An untrained network of either architecture, in evaluation mode."""
    torch.manual_seed(0)
    return SupervisedAutoencoder(request.param, 0.2).eval()


@pytest.mark.parametrize("side", [32, 48, 112, 144, 256])
@torch.inference_mode()
def test_shapes(network: SupervisedAutoencoder, side: int) -> None:
    """For each side that is a multiple of 16: two logits, and a reconstruction of the image's own size in 0..1."""
    logits, reconstruction = network(torch.randn(2, 1, side, side))
    assert logits.shape == (2, 2)
    assert logits.isfinite().all()
    assert reconstruction.shape == (2, 1, side, side)
    assert ((reconstruction >= 0) & (reconstruction <= 1)).all()


@torch.inference_mode()
def test_features_are_a_sixteenth(network: SupervisedAutoencoder) -> None:
    """The encoder halves four times, so a map has S/16 cells a side; its features are not negative."""
    features = network.encoder(torch.randn(1, 1, 96, 96))
    assert features.shape[2:] == (6, 6)
    assert (features >= 0).all()


@torch.inference_mode()
def test_stages_are_modules(network: SupervisedAutoencoder) -> None:
    """Each name of a convolution stage is a module; their outputs shrink, and the last one feeds the classifier."""
    shapes: list[torch.Size] = []
    for name in network.convolution_stages():
        stage = network.get_submodule(name)
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(output.shape))
    features = network.encoder(torch.randn(1, 1, 64, 64))
    assert len(shapes) == len(network.encoder)
    assert [shape[-1] for shape in shapes] == sorted((shape[-1] for shape in shapes), reverse=True)
    assert shapes[-1][1] == features.shape[1]


@torch.inference_mode()
def test_stages_are_what_the_encoder_computes(network: SupervisedAutoencoder) -> None:
    """`stages` gives every block's output, none negative; the last are the features; `DESCRIPTION` counts them all."""
    images = torch.randn(2, 1, 64, 64)
    stages = network.stages(images)
    assert len(stages) == len(network.encoder)
    assert torch.equal(stages[-1], network.encoder(images))
    assert all((stage >= 0).all() for stage in stages)
    assert describe(stages).shape == (2, DESCRIPTION)


def test_no_relu_is_in_place(network: SupervisedAutoencoder) -> None:
    """A ReLU in place would change an activation behind the back of the map extractor that holds it."""
    activations = [module for module in network.modules() if isinstance(module, nn.ReLU)]
    assert activations
    assert not any(module.inplace for module in activations)


@torch.inference_mode()
def test_an_image_does_not_depend_on_its_neighbours(network: SupervisedAutoencoder) -> None:
    """In evaluation mode the others in a batch change nothing, and no dropout is drawn."""
    images = torch.randn(5, 1, 48, 48)
    together, _ = network(images)
    alone = torch.cat([network(image[None])[0] for image in images])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.equal(together, network(images)[0])


def test_every_parameter_learns(network: SupervisedAutoencoder) -> None:
    """The three losses together reach each weight; none is left over."""
    images = torch.randn(4, 1, 32, 32)
    logits, reconstruction = network.train()(images)
    oddness = network.oddness(network.encoder(images))
    (logits.square().sum() + reconstruction.square().sum() + oddness.square().sum()).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_the_same_seed_is_the_same_network() -> None:
    """Weights depend on the seed alone."""
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(SupervisedAutoencoder("residual").state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def test_nio_log_odds() -> None:
    """The difference of the logits in double precision: large ones keep what single precision would round away."""
    logits = torch.tensor([[0.0, 0.0], [0.0, 30.0], [1000.0, -1000.0], [16777216.0, -1.0], [float("nan"), 0.0]])
    log_odds = nio_log_odds(logits)
    assert log_odds.dtype == torch.float64
    assert log_odds[:4].tolist() == [0.0, 30.0, -2000.0, -16777217.0]
    assert log_odds[4].isnan()
