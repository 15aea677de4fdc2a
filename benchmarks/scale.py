"""What lowers the memory of a step, and what it costs: a dry run with each way to save it.

    OMP_NUM_THREADS=1 python -m benchmarks.scale quickstart task.max_length=32 search.warmup_steps=0

Memory is what a step takes above the loaded model, as a share of the plain step's.
"""

import sys

from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.dry_run import dry_run
from autolora_meta.reporting.markdown import table

PARTS = 4


def ways(config: RunConfig) -> dict[str, list[str]]:
    """Return name -> overlays, all with the same rows in a step."""
    parts = []
    for section, keys in (
        ("search", ("batch_size", "outer_batch_size")),
        ("retrain", ("batch_size",)),
    ):
        sizes = {key: getattr(getattr(config, section), key) for key in keys}
        parts += [f"{section}.{key}={size // PARTS}" for key, size in sizes.items()]
        parts.append(f"{section}.accumulate={PARTS}")
    again = [f"{section}.gradient_checkpointing=true" for section in ("search", "retrain")]
    return {
        "plain": [],
        f"accumulate {PARTS}": parts,
        "gradient_checkpointing": again,
        "both": [*parts, *again],
    }


def main(overlays: list[str]) -> None:
    """Print memory and time of each phase by each way."""
    config = RunConfig.load(*overlays)
    rows, plain = [], None
    for name, more in ways(config).items():
        phases = dry_run(RunConfig.load(*overlays, *more)).phases
        plain = plain or phases
        for phase, first in zip(phases, plain, strict=True):
            assert phase.rose is not None and first.rose is not None, "memory is not known here"
            mebibytes, share = phase.rose / 2**20, phase.rose / first.rose
            rows.append([name, phase.name, f"{mebibytes:.0f}", f"{share:.2f}"])
            rows[-1].append(f"{phase.seconds / first.seconds:.1f}")
    print(table(["way", "phase", "MiB", "share", "times as long"], rows))


if __name__ == "__main__":
    main(sys.argv[1:])
