"""The models of the training steps, written once: given minidl's or PyTorch's `nn` and `F`, they are modules of it.

They are `minidl.models` in the words that both libraries have; a test holds them together.
"""

from __future__ import annotations

from typing import Any


def lenet(nn: Any, F: Any) -> Any:
    """LeNet for images 1×28×28."""

    class LeNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c1, self.c3 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
            self.c5 = nn.Conv2d(16, 120, 5)
            self.f6, self.output = nn.Linear(120, 84), nn.Linear(84, 10)

        def forward(self, x: Any) -> Any:
            x = F.max_pool2d(F.relu(self.c1(x)), 2)
            x = F.max_pool2d(F.relu(self.c3(x)), 2)
            x = F.relu(self.c5(x)).flatten(1)
            return self.output(F.relu(self.f6(x)))

    return LeNet()


def resnet(nn: Any, F: Any, n: int = 3) -> Any:
    """ResNet of 6n + 2 layers for images 3×32×32."""

    class Block(nn.Module):
        def __init__(self, in_channels: int, channels: int, stride: int) -> None:
            super().__init__()
            self.stride, self.new_channels = stride, channels - in_channels
            self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.stride > 1:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new_channels))
            return F.relu(x + y)

    def stage(in_channels: int, channels: int, stride: int) -> Any:
        return nn.Sequential(
            Block(in_channels, channels, stride), *(Block(channels, channels, 1) for _ in range(n - 1))
        )

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
            self.stage1, self.stage2, self.stage3 = stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)
            self.output = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = F.relu(self.bn(self.conv(x)))
            x = self.stage3(self.stage2(self.stage1(x)))
            return self.output(x.mean((2, 3)))

    return ResNet()


def charlm(nn: Any, F: Any, characters: int, hidden_size: int) -> Any:
    """A language model of characters: time comes first, x (T, N) -> scores (T, N, characters) and the state."""

    class CharLM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.output = nn.LSTM(characters, hidden_size), nn.Linear(hidden_size, characters)

        def forward(self, x: Any, state: Any) -> Any:
            hidden, state = self.rnn(F.one_hot(x, characters).to(self.output.weight.dtype), state)
            return self.output(hidden), state

    return CharLM()


def bert(nn: Any, F: Any, vocabulary: int, layers: int, width: int, heads: int, inner: int, labels: int = 0) -> Any:
    """BERT without dropout: ids (N, T), mask (N, 1, 1, T) or None -> rows (N, T, width), or with labels (N, labels)."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.output, self.norm1 = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
            self.wide, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
            self.norm2 = nn.LayerNorm(width, eps=1e-12)

        def forward(self, x: Any, mask: Any) -> Any:
            N, T, _ = x.shape
            q, k, v = (f(x).reshape(N, T, heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
            y = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).reshape(N, T, width)
            x = self.norm1(x + self.output(y))
            return self.norm2(x + self.narrow(F.gelu(self.wide(x))))

    class Bert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(512, width)
            self.norm = nn.LayerNorm(width, eps=1e-12)
            self.layers = nn.ModuleList([Layer() for _ in range(layers)])
            self.pooler = nn.Linear(width, width) if labels else None
            self.classifier = nn.Linear(width, labels) if labels else None

        def forward(self, ids: Any, mask: Any = None) -> Any:
            x = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]])
            for layer in self.layers:
                x = layer(x, mask)
            return self.classifier(F.tanh(self.pooler(x[:, 0]))) if labels else x

    return Bert()
