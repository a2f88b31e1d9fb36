"""The mixers that every test of the room runs through: one row each."""

from workbench import lm, rnn

MIXERS = {
    "attention": lm.Attention(heads=2),
    "ParaGRU": lm.Recurrent(rnn.ParaGRU, heads=2, clip_at=0.5),
    "ParaLSTM": lm.Recurrent(rnn.ParaLSTM, heads=2, clip_at=0.5),
    "LinearGRU": lm.Recurrent(rnn.LinearGRU),
    "GRU": lm.Recurrent(rnn.GRU),
    "LSTM": lm.Recurrent(rnn.LSTM),
    "SSD": lm.SSD(heads=2, state_dim=3, chunk=4),
}


def config(name: str = "ParaGRU", **changes) -> lm.Config:
    """A small model of two blocks."""
    return lm.Config(**{"vocab": 7, "layers": 2, "hidden_dim": 8, "mixer": MIXERS[name], "mlp_dim": 12} | changes)
