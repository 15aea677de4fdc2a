"""`python -m autolora_meta`: the command line."""

from autolora_meta.cli.start import main

if __name__ == "__main__":
    main()
