"""As in torchvision."""

from . import functional as functional
