"""Your own network as a backbone: any torch module, features computed once and kept.

python examples/own_backbone.py
"""

import torch

import isthmus
from isthmus.demo.cases import DATA  # photos of hand signs that come with the package

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 5, stride=4),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(4),
    torch.nn.Flatten(),
)
mine = isthmus.load_backbone(network, modality="image")
for backbone in (mine, None):  # an untrained network against the pretrained default
    result = isthmus.transfer(target=DATA / "signs", shots=5, backbone=backbone)
    print(result)
