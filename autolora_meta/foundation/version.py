"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("autolora-meta")
except PackageNotFoundError:  # a checkout that was not installed
    __version__ = "0+unknown"
