"""What choosing a device promises: never another one than asked for, in silence."""

from __future__ import annotations

import pytest
import torch

from inspection.device import choose_device
from inspection.errors import DeviceError

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def test_cpu() -> None:
    """The CPU is there on every machine, also where a GPU is."""
    assert choose_device("cpu") == (torch.device("cpu"), "asked for")


@needs_no_gpu
def test_auto_without_a_gpu() -> None:
    """`auto` takes the CPU and says why."""
    assert choose_device("auto") == (torch.device("cpu"), "no usable GPU")


@needs_no_gpu
@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_without_a_gpu(wanted: str) -> None:
    """A GPU that was asked for and is not there is an error that names what was asked for, and the mend."""
    with pytest.raises(DeviceError, match=f"device: {wanted}: no usable GPU here; set device: auto or cpu"):
        choose_device(wanted)


@needs_gpu
@pytest.mark.parametrize("wanted", ["auto", "cuda", "cuda:0"])
def test_a_gpu(wanted: str) -> None:
    """A GPU is named, and computes in full float32 with fixed algorithms."""
    device, why = choose_device(wanted)
    assert device.type == "cuda"
    assert torch.cuda.get_device_name(device) in why
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.deterministic


@needs_gpu
def test_a_gpu_too_many() -> None:
    """A number beyond the last GPU is an error that says how many there are."""
    with pytest.raises(DeviceError, match="counted from 0"):
        choose_device(f"cuda:{torch.cuda.device_count()}")
