"""Python imports this module as it starts, if this folder is in ``PYTHONPATH``."""

import torchvision_stand_in

torchvision_stand_in.install()
