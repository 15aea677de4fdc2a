"""Stacks of a study: which runs search and are retrained in one pass, and how many at a time."""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor

import torch

from autolora_meta.allocators.replicate import allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import processes
from autolora_meta.foundation.options import hashed
from autolora_meta.pipeline.search_together import MOST
from autolora_meta.pipeline.together import why_apart
from autolora_meta.studies import work
from autolora_meta.studies.executor import Ended, Job, Together
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.plan import Planned
from autolora_meta.studies.pool import workers_here
from autolora_meta.studies.sharing import jobs_behind

_MOST_ON_CPU = 8  # adapters in one pass: more of them gain nothing
SMALL = 2000  # adapter steps on a CPU below which no trial pays
_TRIAL = "trial-"  # what the key of one begins with


def passes(runs: Iterable[Planned], alone: Container[str] = ()) -> dict[str, Together]:
    """Return id of a run or key of a search -> the pass that it may share.

    Args:
        runs: all of a study, each once, in the order of its plan: bundles do not hang on what has
            ended.
        alone: ids of runs that are retrained by stock tools, whatever else is asked for.
    """
    retrainings: dict[str, list[str]] = defaultdict(list)
    searches: dict[str, dict[str, None]] = defaultdict(dict)
    keys: dict[int, tuple[str, str]] = {}  # of the configurations, which many runs share
    for run in runs:
        if id(run.config) not in keys:
            keys[id(run.config)] = _keys(run.config)
        of_both, of_searches = keys[id(run.config)]
        for selection, key in run.searches.items():
            if why_apart(run.config.search, selection) is None:
                searches[f"{of_both}/{selection}-{of_searches}"][key] = None
        if run.id not in alone and not _apart(run):
            retrainings[of_both].append(run.id)
    each = [(key, work.retrain_together, [*ids]) for key, ids in retrainings.items()]
    each += [(key, work.search_together, [*ids]) for key, ids in searches.items()]
    return {
        one: Together(key, call, number, len(ids))
        for key, call, ids in each
        for number, one in enumerate(ids)
    }


def _apart(run: Planned) -> bool:
    """Return whether a run is better retrained by itself.

    Rows that are grouped by length are drawn while it trains. What an arm trains for its ranks
    would be lost with all others of its pass, where it is not kept beside (`Planned.measured`).
    """
    trains = allocator(run.arm).work(run.config) > 0 and run.measured is None
    retrain, model = run.config.retrain, run.config.model
    if model.quantization is not None or model.device_map is not None:
        return True  # a base that stays as it was loaded
    return retrain.group_by_length or retrain.saves_memory or trains


def _keys(config: RunConfig) -> tuple[str, str]:
    """Return hashes of what retrainings of a pass have in common, and what searches have, too."""
    config = config.model_copy(update={"search": config.search_as_read})
    about = hashed(config, {"model", "data", "task", "lora", "search"})
    more = about.pop("search"), about["lora"].pop("k")
    about["precision"] = config.retrain.precision
    return _hash(about), _hash(more)


def _hash(about: object) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


class Stacks:
    """How many adapters of a study train at a time: one decision for each pass, made once.

    Args:
        base: whose `runtime` says what is asked for.
        every: all runs of the study, each once, by their ids.
        left: those that are to be run.
        ledger: of the study, which keeps the decisions.
        keep: id of a run -> what is to be done with its retrained model (`sharing.jobs_behind`).
        executor: takes the jobs; None: processes of this machine, which are all to have work.

    Attributes:
        jobs: what is to be done: trials that decide what is not decided yet, then the work.
    """

    def __init__(
        self,
        base: RunConfig,
        every: Mapping[str, Planned],
        left: Sequence[Planned],
        ledger: Ledger,
        keep: Mapping[str, work.Keep],
        executor: Executor | None,
    ) -> None:
        workers = workers_here(base.runtime) if executor is None else 1
        alone = processes.launched() > 1  # processes share out one adapter at a time
        self._asked = "off" if alone else base.runtime.stack
        self._ledger, self._device = ledger, _device(base)
        self._known, together = ledger.stacks(), passes(every.values(), alone=keep)
        self._trials: dict[str, Job] = {}  # by the key of the pass
        if self._asked == "auto":
            shared = {together[run.id].key for run in left if run.id in together}
            for key in sorted(shared):
                runs = [run for i, run in every.items() if i in together and together[i].key == key]
                self._try(key, runs, workers)
        work_left = jobs_behind(left, ledger.folder, keep, together)
        self.jobs = [*self._trials.values(), *work_left]

    def _try(self, key: str, runs: Sequence[Planned], workers: int) -> None:
        """Let a trial decide, where that is not done yet and may pay."""
        cpu = self._device == "cpu"
        most = min(_MOST_ON_CPU if cpu else MOST, math.ceil(len(runs) / workers))
        steps = sum(allocator(run.arm).retrain_steps(run.config) for run in runs)
        if most > 1 and not (cpu and steps < SMALL) and self._name(key) not in self._known:
            largest = max(runs, key=lambda run: (run.config.retrain.batch_size, run.config.lora.k))
            arguments = largest.config, largest.seed, most
            self._trials[key] = Job(f"{_TRIAL}{key}", work.try_stack, arguments)

    def most(self, job: Job) -> int | None:
        """Return how many jobs may share the pass of one; None: a trial is still to say."""
        if job.together is None or self._asked == "off":
            return 1
        if isinstance(self._asked, int):
            return self._asked
        key = job.together.key.partition("/")[0]  # searches fit as their retrainings do
        return self._known.get(self._name(key), None if key in self._trials else 1)

    def decided(self, every: Iterable[Ended], say: Callable[[str], None]) -> Iterator[Ended]:
        """Yield how jobs ended; keep and say what trials gave.

        A trial that failed says that one adapter trains at a time.
        """
        for ended in every:
            if not ended.job.key.startswith(_TRIAL):
                yield ended
                continue
            many, said = ended.value or (1, f"one adapter at a time: {ended.error}")
            self._known[self._name(ended.job.key.removeprefix(_TRIAL))] = many
            self._ledger.keep_stacks(self._known)
            say(said)

    def _name(self, key: str) -> str:
        return f"{key}-{self._device}"


def _device(base: RunConfig) -> str:
    """Return the kind of device that runs are trained on, as far as it is known here."""
    try:
        return torch.device(base.runtime.resolved_device).type
    except InputError:  # an executor's processes may have it
        return base.runtime.device.partition(":")[0]
