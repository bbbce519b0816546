"""What the maps promise: finite, repeatable, exact where they can be, and in the right place."""

from __future__ import annotations

import gc
import itertools
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inspection.cam import METHODS, MapMaker
from inspection.extractor import Extractor
from inspection.image import decode
from inspection.inspector import Inspector
from inspection.model import load
from inspection.network import Architecture, SupervisedAutoencoder
from inspection.novelty import DESCRIPTION, Novelty
from inspection.scorer import Findings, Scorer
from settings.schema import CamSettings

CPU = torch.device("cpu")
ARCHITECTURES: tuple[Architecture, ...] = ("residual", "plain")
COMBINATIONS = [
    pytest.param(
        architecture, method, only_last_conv, id=f"{architecture}-{method}-{'last' if only_last_conv else 'all'}"
    )
    for architecture in ARCHITECTURES
    for method in METHODS
    for only_last_conv in (True, False)
    if (method, only_last_conv) not in {("CAM", False), ("ExcessCAM", False), ("RefineCAM", True)}
]
every_map = pytest.mark.parametrize(("architecture", "method", "only_last_conv"), COMBINATIONS)
IMAGES = torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def untrained(architecture: Architecture) -> SupervisedAutoencoder:
    """Random weights, frozen, as a loaded model has them."""
    torch.manual_seed(0)
    return SupervisedAutoencoder(architecture).eval().requires_grad_(requires_grad=False)


def brightness_detector(architecture: Architecture, weight: float = 1.0) -> SupervisedAutoencoder:
    """A network whose one live channel carries the image's brightness, which speaks for nio with `weight`."""
    network = untrained(architecture)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name, module in network.encoder.named_modules():
        if isinstance(module, nn.Conv2d) and "body" not in name:
            height, width = module.kernel_size
            module.weight[0, 0, height // 2, width // 2] = 1
    network.head.linear.weight[1, 0] = weight
    return network


def plain_logits(network: SupervisedAutoencoder, images: Tensor) -> Tensor:
    """What the classifier says without any extractor."""
    with torch.inference_mode():
        logits: Tensor = network.head(network.encoder(images))
    return logits


def look(network: SupervisedAutoencoder, images: Tensor) -> Findings:
    """What was found in the images, as an inspector finds it."""
    with torch.inference_mode():
        found: Findings = Scorer(network, Novelty(DESCRIPTION))(images)
    return found


def mapped(
    network: SupervisedAutoencoder, method: str, images: Tensor, *, only_last_conv: bool = True
) -> tuple[Tensor, Tensor]:
    """Maps and peaks of images, by a map maker made for them."""
    return MapMaker(network, method, only_last_conv=only_last_conv)(images, look(network, images))


@every_map
def test_maps_are_sound(architecture: Architecture, method: str, only_last_conv: bool) -> None:
    """One finite map in 0..1 for each image, with its peak at 1 or nowhere; no gradient hangs on the results."""
    maps, peaks = mapped(untrained(architecture), method, IMAGES, only_last_conv=only_last_conv)
    assert (len(maps), len(peaks)) == (3, 3)
    assert maps.ndim == 3
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert maps.max() <= 1
    for image, peak in zip(maps, peaks, strict=True):
        assert float(image.max()) == pytest.approx(1 if peak > 1e-8 else 0, abs=1e-5)
    assert not any(result.requires_grad for result in (maps, peaks))


@every_map
def test_logits_are_those_of_the_network(architecture: Architecture, method: str, only_last_conv: bool) -> None:
    """The extractor watches and does not touch: it changes no logit."""
    network = untrained(architecture)
    expected = plain_logits(network, IMAGES)
    maker = MapMaker(network, method, only_last_conv=only_last_conv)
    maker(IMAGES, look(network, IMAGES))
    assert torch.equal(plain_logits(network, IMAGES), expected)


@every_map
def test_a_map_does_not_depend_on_its_neighbours(architecture: Architecture, method: str, only_last_conv: bool) -> None:
    """An image alone gets the map that it gets in a batch."""
    network = untrained(architecture)
    maker = MapMaker(network, method, only_last_conv=only_last_conv)
    together, peaks = maker(IMAGES, look(network, IMAGES))
    for index, image in enumerate(IMAGES):
        alone, peak = maker(image[None], look(network, image[None]))
        assert torch.allclose(alone[0], together[index], atol=1e-4)
        assert torch.allclose(peak[0], peaks[index], rtol=1e-3, atol=1e-8)


@every_map
def test_the_map_lies_where_the_evidence_is(architecture: Architecture, method: str, only_last_conv: bool) -> None:
    """A bright spot that alone speaks for nio is found in its own cell: neither turned, mirrored nor shifted."""
    image = torch.full((1, 1, 96, 96), -1.0)
    image[..., 16:32, 64:80] = 8.0
    maps, _ = mapped(brightness_detector(architecture), method, image, only_last_conv=only_last_conv)
    side = maps.shape[-1]
    y, x = divmod(int(maps[0].argmax()), side)
    assert (y * 6 // side, x * 6 // side) == (1, 4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method", ["ExcessCAM", "HiResCAM", "XGradCAM", "GradCAM", "FinerCAM", "LayerCAM"])
def test_no_evidence_is_no_map(architecture: Architecture, method: str) -> None:
    """Where nothing speaks for nio the peak is 0 and the map is empty, not noise blown up to 1."""
    image = torch.full((1, 1, 64, 64), 2.0)
    detector = brightness_detector(architecture, weight=-1.0)
    maps, peaks = mapped(detector, method, image)
    assert float(peaks[0]) == 0
    assert float(maps.max()) == 0


@pytest.mark.parametrize("method", ["HiResCAM", "XGradCAM", "GradCAM"])
def test_exact_for_the_plain_network(method: str) -> None:
    """With average pooling and one linear layer the map is ReLU(sum w_k A_k)/(H*W), w the weights of nio less io's."""
    network = untrained("plain")
    maps, peaks = mapped(network, method, IMAGES)
    weights = network.head.linear.weight[1] - network.head.linear.weight[0]
    features = network.encoder(IMAGES)
    expected = torch.einsum("k,nkhw->nhw", weights, features).relu() / features[0, 0].numel()
    assert torch.allclose(maps * peaks[:, None, None], expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_contributions_add_up(architecture: Architecture) -> None:
    """What HiResCAM lays on all places together, for and against nio, is the margin of the logits less the bias."""
    network = untrained(architecture)
    evidence = {}
    for sign in (1, -1):
        signed = untrained(architecture)
        signed.head.linear.weight *= sign
        maps, peaks = mapped(signed, "HiResCAM", IMAGES)
        evidence[sign] = (maps * peaks[:, None, None]).sum(dim=(1, 2))
    logits, bias = plain_logits(network, IMAGES), network.head.linear.bias
    expected = logits[:, 1] - logits[:, 0] - (bias[1] - bias[0])
    assert torch.allclose(evidence[1] - evidence[-1], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_a_good_image_has_and_this_one_lacks_is_evidence(architecture: Architecture) -> None:
    """Where good images have something that speaks for io, an image without it has its peak."""
    good = torch.full((2, 1, 96, 96), -1.0)
    good[..., 16:32, 64:80] = 8.0
    empty = torch.full((1, 1, 96, 96), -1.0)
    detector = brightness_detector(architecture, weight=-1.0)
    usual = look(detector, good).evidence.mean(dim=0)
    maker = MapMaker(detector, "ExcessCAM", only_last_conv=True, usual_hw=usual)
    images = torch.cat([empty, good[:1]])
    maps, peaks = maker(images, look(detector, images))
    assert divmod(int(maps[0].argmax()), 6) == (1, 4)
    assert float(peaks[0]) > 0
    assert float(peaks[1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_closed_form_is_torchcams_map(architecture: Architecture) -> None:
    """On the last stage HiResCAM without a gradient is, to the last digits, what torchcam makes of gradients."""
    network = untrained(architecture)
    found = look(network, IMAGES)
    expected = Extractor(network, "HiResCAM", only_last_conv=True)(IMAGES, found)
    assert expected.amax() > 1e-4
    assert torch.allclose(found.evidence.relu(), expected, rtol=1e-5, atol=1e-7)


def test_the_closed_form_knows_dead_channels() -> None:
    """A channel that is silent everywhere, or nearly, adds nothing: no division by what is not there."""
    head = untrained("residual").head
    features = torch.zeros(1, 128, 4, 4)
    features[0, 1] = 1e-9
    assert head.evidence(features).isfinite().all()
    assert float(head.evidence(features).abs().max()) < 1e-8


def test_the_default_needs_no_torchcam() -> None:
    """The default method adds up what was found: nothing runs again, and nothing hooks into the network."""
    network = untrained("residual")
    found = look(network, IMAGES)
    runs: list[object] = []
    for module in network.modules():
        module.register_forward_hook(lambda *_: runs.append(1))
    MapMaker(network, CamSettings().method, only_last_conv=CamSettings().only_last_conv)(IMAGES, found)
    assert runs == []


def test_the_encoder_is_not_run_again_for_maps_of_the_last_stage() -> None:
    """Given what was found, XGradCAM costs the head alone."""
    network = untrained("residual")
    maker = MapMaker(network, "XGradCAM", only_last_conv=True)
    found = look(network, IMAGES)
    runs: list[object] = []
    network.encoder.register_forward_hook(lambda *_: runs.append(1))
    maker(IMAGES, found)
    assert runs == []


@pytest.mark.parametrize("method", ["ExcessCAM", "XGradCAM", "SmoothGradCAMpp"])
def test_twins_map_at_once(method: str) -> None:
    """Two threads with a maker and a network of their own have the maps that one has alone."""
    networks = [untrained("residual") for _ in range(2)]
    first = MapMaker(networks[0], method, only_last_conv=True)
    makers = [first, first.twin(networks[1])]
    expected, _ = makers[0](IMAGES, look(networks[0], IMAGES))

    def many(index: int) -> list[Tensor]:
        return [makers[index](IMAGES, look(networks[index], IMAGES))[0] for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        for maps in itertools.chain(*pool.map(many, range(2))):
            assert torch.equal(maps, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("only_last_conv", [True, False])
def test_smooth_maps_are_repeatable(architecture: Architecture, only_last_conv: bool) -> None:
    """SmoothGradCAMpp draws noise, yet the same image has the same map, and nobody else's dice are touched."""
    network = untrained(architecture)
    maker = MapMaker(network, "SmoothGradCAMpp", only_last_conv=only_last_conv)
    found = look(network, IMAGES)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, _ = maker(IMAGES, found)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    second, _ = maker(IMAGES, found)
    assert torch.equal(first, second)


@every_map
def test_nothing_is_held_afterwards(architecture: Architecture, method: str, only_last_conv: bool) -> None:
    """Between two batches neither the extractor nor a gradient holds an activation: memory stays flat."""
    network = untrained(architecture)
    seen: list[weakref.ref[Tensor]] = []
    network.head.features.register_forward_hook(lambda _module, _inputs, output: seen.append(weakref.ref(output)))
    maker = MapMaker(network, method, only_last_conv=only_last_conv)
    results = maker(IMAGES, look(network, IMAGES))
    gc.collect()
    assert seen
    assert [alive for alive in seen if alive() is not None] == []
    assert len(results) == 2


@pytest.mark.parametrize("method", ["XGradCAM", "SmoothGradCAMpp"])
def test_a_failure_leaves_the_maker_usable(method: str) -> None:
    """After a batch that cannot be judged the next one has the map that it would have had."""
    network = untrained("residual")
    maker = MapMaker(network, method, only_last_conv=True)
    found = look(network, IMAGES)
    expected, _ = maker(IMAGES, found)
    with pytest.raises(RuntimeError):
        maker(torch.randn(1, 3, 64, 64), found._replace(features=torch.zeros(1, 3, 4, 4)))
    assert torch.equal(maker(IMAGES, found)[0], expected)


@pytest.mark.parametrize("method", ["ExcessCAM", "XGradCAM"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_image_of_no_numbers(architecture: Architecture, method: str) -> None:
    """NaN in the image gives NaN logits, which are nio, and an empty map instead of a NaN one."""
    images = IMAGES.clone()
    images[1] = torch.nan
    network = untrained(architecture)
    maps, peaks = mapped(network, method, images)
    logits = look(network, images).logits
    assert logits[1].isnan().any()
    assert maps.isfinite().all()
    assert float(peaks[1]) == 0
    assert logits[[0, 2]].isfinite().all()


@pytest.mark.parametrize(("method", "only_last_conv"), [("ExcessCAM", True), ("RefineCAM", False)])
def test_a_trained_model_points_at_the_void(trained: Path, method: str, only_last_conv: bool) -> None:
    """The map of a model that tells discs with a void from those without peaks near the void."""
    paths = sorted((trained / "dataset" / "nio").iterdir())[:8]
    images = [decode(path.read_bytes(), max_pixels=10_000).pixels for path in paths]
    inspector = Inspector(load(trained / "models" / "current", CPU), method, only_last_conv=only_last_conv)
    distances = []
    for image, inspection in zip(images, inspector.inspect(images), strict=True):
        y, x = (np.indices(image.shape) + 0.5) / len(image)
        void = (image > 0.45) & (np.hypot(y - 0.5, x - 0.5) < 0.23)
        row, column = np.unravel_index(inspection.evidence.argmax(), inspection.evidence.shape)
        side = len(inspection.evidence)
        distances.append(np.hypot((row + 0.5) / side - y[void].mean(), (column + 0.5) / side - x[void].mean()))
    assert np.median(distances) < 0.25
