"""What lies ahead of a study, and what is kept of one that was stopped, in words."""

from autolora_meta.studies.answers import primary_words
from autolora_meta.studies.study import Study


def ahead(
    study: Study, *, retry_failed: bool = False, overwrite: bool = False, restart: bool = False
) -> str:
    """Return what is to be run, what it is to show, and what the folder holds beside it."""
    left = study.left(retry_failed=retry_failed)
    shared = len(study.jobs(left)) - len(left)
    to_do = _to_do(len(left), len(study.every), shared)
    if overwrite:
        to_do = f"{len(study.every)} runs to do, in the place of what is there"
    lines = [f"{to_do}, in {study.folder}"]
    if named := primary_words(study.options.asked(), study.options.primary()):
        lines.append(f"primary comparison: {named} (compare.primary); all others are secondary")
    if overwrite:
        return "\n".join(lines)
    if (begun := study.begun(retry_failed=retry_failed)) and not restart:
        lines.append(f"{begun} of these jobs were begun, and go on from their last checkpoint")
    if failed := len({row["id"] for row in study.table().failed} - {run.id for run in left}):
        lines.append(f"{failed} failed before and are left as they are; --retry-failed tries again")
    if beside := study.beside():
        lines.append(
            f"{beside} finished runs in this folder are not asked for: they are kept, and stay out "
            "of the table and the page that are written now (name=... gives them another folder)"
        )
    return "\n".join(lines)


def kept_words(study: Study) -> str:
    """Return what is kept of a study that was stopped, and how to go on."""
    finished = {row["id"] for row in study.table().rows if row["status"] == "finished"}
    return (
        f"stopped: {len(finished)} of {len(study.every)} runs have finished and are kept in "
        f"{study.folder}; the same command goes on with the rest"
        + (f", {begun} of it from checkpoints" if (begun := study.begun()) else "")
    )


def _to_do(left: int, every: int, shared: int) -> str:
    if left == 0:
        return f"all {every} runs have ended before"
    also = f", and {shared} searches and measurements that they share" if shared else ""
    return f"{left} of {every} runs to do{also}"
