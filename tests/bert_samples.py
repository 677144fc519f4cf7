"""What the tests of BERT and its kin share: sizes, parameters away from where they start, and what is in a folder."""

import json

import numpy as np

import minidl

SMALL = {
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 10,
}


def randomised(model, seed=0):
    """Every parameter away from what it starts as, so that none can be left out unnoticed."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.detach()[...] = minidl.tensor(rng.standard_normal(parameter.shape) * 0.4 + 0.1).to(parameter.dtype)
    return model.eval()


def outputs(model, ids):
    y = model(ids)
    return (y if isinstance(y, minidl.Tensor) else y.last_hidden_state).detach().numpy()


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
