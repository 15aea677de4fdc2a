"""Scripts without a main guard, whose worker processes would begin all the work anew."""

import ast
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import current_process, get_start_method
from pathlib import Path
from types import TracebackType
from typing import Any

from autolora_meta.errors import InputError
from autolora_meta.studies.orphans import Tied

_MEND = 'put what starts the work below `if __name__ == "__main__":`'


def refuse_unguarded(executor: Executor | None = None) -> None:
    """Refuse to begin where a worker process, which imports the main module, would begin as well.

    A process that is importing the main module for its parent ends here, without a word: its parent
    says what is wrong. Where a condition that does not read `__name__` stands around the call, a
    process that does nothing else tries whether the module can be imported.

    Args:
        executor: what is to run the work; None: processes of our own, which are spawned.

    Raises:
        InputError: the call stands in the main module without a guard around it.
    """
    if getattr(current_process(), "_inheriting", False):
        raise SystemExit(1)
    line = _line_of_main() if _imports_main(executor) else None
    if line is None:
        return
    source = Path(str(_main_file()))
    reached = _runs_at_import(source.read_text(encoding="utf-8", errors="replace"), line)
    if reached:
        error = InputError(
            f"line {line} of {source.name} starts worker processes, which import {source.name} "
            f"again and would all start it anew; {_MEND}"
        )
    elif reached is None and not _can_be_imported():
        error = import_failed()
    else:
        return
    _say_alone(error)
    raise error


def import_failed() -> InputError:
    """What is said where the first worker process ended before it had begun."""
    return InputError(
        f"a worker process ended while it imported {_main_file() or 'the main module'} again; "
        f"{_MEND}, and see above for an error of its own"
    )


def _imports_main(executor: Executor | None) -> bool:
    """Whether the executor's workers import the main module."""
    if executor is None:
        return True
    context = getattr(executor, "_mp_context", None)
    method = context.get_start_method() if context else get_start_method()
    return isinstance(executor, ProcessPoolExecutor) and method != "fork"


def _main_file() -> str | None:
    """The file of the main module, where workers import it: a notebook, say, has none."""
    main = sys.modules.get("__main__")
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if not file or Path(file).stem == "ipython" or not Path(file).is_file():
        return None
    return None if spec is not None and spec.name.rpartition(".")[2] == "__main__" else file


def _line_of_main() -> int | None:
    """The line of the main module that is being run at its top level; None outside of it."""
    if _main_file() is None:
        return None
    variables, frame = vars(sys.modules["__main__"]), sys._getframe()
    while frame is not None:
        if frame.f_globals is variables and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _runs_at_import(source: str, line: int) -> bool | None:
    """Whether `line` is run where `__name__` is not `__main__`; None: a condition decides."""
    *before, here = [node for node in ast.parse(source).body if node.lineno <= line]
    asked = [node for node in before if isinstance(node, ast.If | ast.Assert)]
    if any("__name__" in ast.unparse(node) for node in (*asked, here)):
        return False
    for node in ast.walk(here):
        if isinstance(node, ast.If) and node.lineno <= line <= (node.end_lineno or line):
            return None
    return True


def _can_be_imported() -> bool:
    """Whether a process of our own can import the main module."""
    process = Tied().Process(target=len, args=("",))
    process.start()
    process.join()
    return process.exitcode == 0


def _say_alone(error: InputError) -> None:
    """Let a script that ends with `error` say that alone, with status 2, as the command does."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], raised: BaseException, trace: TracebackType | None) -> Any:
        if raised is not error:
            return usual(kind, raised, trace)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2)

    sys.excepthook = hook
