"""The benchmarks run; what they measure is not asserted but in the documentation."""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import reconstruction


def test_reconstruction(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reconstruction, "SEEDS", (0,))
    monkeypatch.setattr(reconstruction, "COMPONENTS", {"digits": (8,)})
    output = tmp_path / "table.csv"
    monkeypatch.setattr(sys, "argv", ["reconstruction", "--output", str(output)])
    reconstruction.main()
    table = pd.read_csv(output)
    assert table["data"].tolist() == ["digits"]
    assert 0 < table["autoencoder / PCA"][0] < 1
    assert "autoencoder / PCA" in capsys.readouterr().out
