"""Where the command line begins: until it can answer Ctrl-C, that ends it without a traceback."""

import os
import signal


def main() -> None:
    """Run the command that the arguments name."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to keep yet
    if os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what it warns of is said here
        from autolora_meta.cli.launched import main as launched

        launched()
        return
    from autolora_meta.cli.main import app

    app()
