"""The one configuration file, as typed settings for the daemon and the training."""

from settings.load import load
from settings.schema import Settings

__all__ = ["Settings", "load"]
