"""The networks of the speed benchmarks in PyTorch. Inputs are a list, `(B, C, H, W)` each.

They return logits, and PyTorch's cross-entropy takes them.
"""

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 10
CHANNELS, HIDDEN = 6, 100
WIDTH = 128


def small():
    """Two small residual CNNs on one channel each, as `keras_models.small`."""
    return Pooled([SmallCNN(), SmallCNN()], 64)


def av_mnist():
    """MultiBench's late fusion as published: two LeNets, concatenation, one hidden layer."""
    return LateFusion([LeNet(3), LeNet(5)], CHANNELS * (2**3 + 2**5))


def mobilenet(frozen=False, padding="symmetric"):
    """Two MobileNetV2 towers, as `keras_models.mobilenet`."""
    return Pooled([MobileNetV2(padding), MobileNetV2(padding)], 1280, frozen)


class LateFusion(nn.Module):
    """Towers, concatenation, a head of one hidden layer."""

    def __init__(self, towers, width):
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.hidden = nn.Linear(width, HIDDEN)
        self.label = nn.Linear(HIDDEN, CLASSES)

    def forward(self, inputs):
        x = [tower(x) for tower, x in zip(self.towers, inputs, strict=True)]
        return self.label(F.relu(self.hidden(torch.cat(x, 1))))


class Pooled(nn.Module):
    """Pixels 0–255 to −1…1, towers, a projection of each map, its mean, one dense layer.

    Args:
        frozen: Whether the towers are: without gradients, and with the statistics they have.
    """

    def __init__(self, towers, channels, frozen=False):
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.projections = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for _ in towers)
        self.label = nn.Linear(len(towers) * WIDTH, CLASSES)
        self.frozen = frozen
        self.towers.requires_grad_(not frozen)

    def train(self, mode=True):
        super().train(mode)
        self.towers.train(mode and not self.frozen)
        return self

    def forward(self, inputs):
        maps = [self.run(tower, x) for tower, x in zip(self.towers, inputs, strict=True)]
        pairs = zip(self.projections, maps, strict=True)
        return self.label(torch.cat([F.relu(p(x)).mean((2, 3)) for p, x in pairs], 1))

    def run(self, tower, x):
        x = x / 127.5 - 1
        if not self.frozen:
            return tower(x)
        with torch.no_grad():
            return tower(x)


class SmallCNN(nn.Module):
    """Three stages of two convolutions with a residual connection, as `keras_models.small_cnn`."""

    def __init__(self):
        super().__init__()
        before = 1
        self.stages = nn.ModuleList()
        for channels in (16, 32, 64):
            first = nn.Conv2d(before, channels, 3, padding=1, bias=False)
            second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            norms = [nn.BatchNorm2d(channels, 1e-3) for _ in range(2)]
            self.stages.append(nn.ModuleList([first, norms[0], second, norms[1]]))
            before = channels

    def forward(self, x):
        for first, first_norm, second, second_norm in self.stages:
            x = F.relu(first_norm(first(x)))
            x = F.max_pool2d(F.relu(x + second_norm(second(x))), 2)
        return x


class LeNet(nn.Module):
    """A 5×5 convolution, then `blocks` of 3×3 that double the channels, as `keras_models.lenet`."""

    def __init__(self, blocks):
        super().__init__()
        widths = [1, *(CHANNELS * 2**block for block in range(blocks + 1))]
        self.blocks = nn.ModuleList()
        for block in range(blocks + 1):
            size = 3 if block else 5
            conv = nn.Conv2d(widths[block], widths[block + 1], size, padding=size // 2, bias=False)
            nn.init.kaiming_uniform_(conv.weight)
            self.blocks.append(nn.ModuleList([conv, nn.BatchNorm2d(widths[block + 1])]))

    def forward(self, x):
        for conv, norm in self.blocks:
            x = F.max_pool2d(F.relu(norm(conv(x))), 2)
        return torch.flatten(x, 1)


class MobileNetV2(nn.Module):
    """Sandler et al., 2018, without the top; BatchNorm with the options of keras.applications.

    Args:
        padding: `"symmetric"` as in torchvision, or `"keras"`: below and to the right only, where
            a convolution halves an even picture; slower here, as it is an operation of its own.
    """

    # Expansion, channels, repeats, stride of the first.
    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, padding="symmetric"):
        super().__init__()
        blocks = [nn.Sequential(*conv_norm(3, 32, 3, 2, padding=padding), nn.ReLU6(inplace=True))]
        before = 32
        for expansion, channels, repeats, stride in self.STAGES:
            for repeat in range(repeats):
                steps = 1 if repeat else stride
                blocks.append(InvertedResidual(before, channels, steps, expansion, padding))
                before = channels
        blocks.append(nn.Sequential(*conv_norm(before, 1280), nn.ReLU6(inplace=True)))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x):
        return self.blocks(x)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; a residual connection where shapes agree."""

    def __init__(self, before, channels, stride, expansion, padding):
        super().__init__()
        inner = before * expansion
        expand = [*conv_norm(before, inner), nn.ReLU6(inplace=True)] if expansion > 1 else []
        depthwise = conv_norm(inner, inner, 3, stride, groups=inner, padding=padding)
        project = conv_norm(inner, channels)
        self.layers = nn.Sequential(*expand, *depthwise, nn.ReLU6(inplace=True), *project)
        self.residual = stride == 1 and before == channels

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


def conv_norm(before, channels, size=1, stride=1, groups=1, padding="symmetric"):
    """Returns a convolution and its BatchNorm."""
    pad = []
    if padding == "keras" and stride == 2:
        pad, around = [nn.ZeroPad2d((0, 1, 0, 1))], 0
    else:
        around = size // 2
    conv = nn.Conv2d(before, channels, size, stride, around, groups=groups, bias=False)
    return [*pad, conv, nn.BatchNorm2d(channels, eps=1e-3, momentum=0.001)]
