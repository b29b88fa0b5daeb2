"""What Topaz needs of torchvision to start: names. It calls them only to turn and mirror images while a model is trained."""

from . import transforms as transforms
