"""Which processor judges, and why; the same scores on every one of them, as far as arithmetic allows."""

from __future__ import annotations

import torch

from inspection.errors import DeviceError


def choose_device(wanted: str) -> tuple[torch.device, str]:
    """Find the device that the configuration asks for.

    Args:
        wanted: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        The device, and in a few words why it is this one.

    Raises:
        DeviceError: `cuda` was asked for and is not there; it never falls back to the CPU in silence.
    """
    if wanted == "cpu":
        return torch.device("cpu"), "asked for"
    available = torch.cuda.is_available()
    if wanted == "auto" and not available:
        return torch.device("cpu"), "no usable GPU"
    if not available:
        raise DeviceError(f"device: {wanted}: no usable GPU here; set device: auto or cpu, or mend the driver")
    device = torch.device("cuda" if wanted == "auto" else wanted)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise DeviceError(
            f"device: {wanted}: there are {torch.cuda.device_count()} GPUs, counted from 0; name one of them"
        )
    # Full float32 and fixed algorithms: the golden samples of a model hold on any GPU as on a CPU.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    name = torch.cuda.get_device_name(device)
    return device, f"{name} found" if wanted == "auto" else f"asked for, {name}"
