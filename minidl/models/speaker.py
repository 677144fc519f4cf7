"""A bidirectional recurrent network that tells who speaks.

M. Schuster, K. Paliwal, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing 45(11), 1997:
one layer reads the utterance from its first frame to its last, another from its last to its first.

    INPUT     x_1     x_2     ...     x_T        frames of 12 coefficients
    FORWARD   h_1  →  h_2  →  ...  →  h_T
    BACKWARD  k_1  ←  k_2  ←  ...  ←  k_T
    MEAN      average of (h_t, k_t) over the frames that there are
    OUTPUT    one score for each speaker

The layers are an LSTM's or a GRU's, and the whole utterance has one label, so the output sees the mean.
"""

from __future__ import annotations

from typing import Any

from minidl import nn
from minidl.axes import as_integers
from minidl.factories import made
from minidl.nn.linear import at_least
from minidl.tensor import Tensor

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class SpeakerNet(nn.Module):
    """Scores of speakers for utterances of different lengths.

    Args:
        num_classes: how many speakers. in_channels: coefficients a frame.
        hidden_size: H, of each direction.
        cell: "lstm" or "gru".
        dropout: probability, for what the output sees.

    Shapes:
        x (N, T, in_channels), lengths (N,) -> logits (N, num_classes). What lies beyond a length does not matter.

    Raises:
        ValueError: no speakers, coefficients or hidden values, an unknown cell; at the call, shapes that do not fit.

    Example:
        >>> import minidl
        >>> from minidl.models import SpeakerNet
        >>> SpeakerNet()(minidl.zeros(2, 29, 12), minidl.tensor([29, 7])).shape
        (2, 9)
    """

    def __init__(
        self,
        num_classes: int = 9,
        in_channels: int = 12,
        hidden_size: int = 64,
        cell: str = "lstm",
        dropout: float = 0.0,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        at_least("SpeakerNet", 1, num_classes=num_classes, in_channels=in_channels, hidden_size=hidden_size)
        if not isinstance(cell, str) or cell not in CELLS:
            raise ValueError(f"SpeakerNet: cell must be one of {', '.join(CELLS)}, not {cell!r}")
        self.rnn = CELLS[cell](in_channels, hidden_size, batch_first=True, bidirectional=True, dtype=dtype)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * hidden_size, num_classes, dtype=dtype)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        lengths = made(as_integers("SpeakerNet", "lengths", lengths))
        states, _ = self.rnn(x, lengths=lengths)  # (N, T, 2 H), zeros beyond each length
        mean = states.sum(1) / lengths.to(x.dtype).unsqueeze(1)  # (N, 2 H)
        return self.output(self.dropout(mean))
