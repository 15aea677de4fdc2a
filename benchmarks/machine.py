"""What a benchmark ran on."""

import torch

from autolora_meta.foundation.environment import environment


def machine(device: str) -> str:
    """Return the device, or processor and cores of a CPU, and the version of torch."""
    about = environment()
    chip = f"{about['processor']}, cores: {about['cores']}"
    if device.startswith("cuda"):
        chip = torch.cuda.get_device_name(device)
    return f"{chip}, torch {about['torch']}"


def cores() -> int:
    """Return the number of cores that this process may use."""
    return int(environment()["cores"])
