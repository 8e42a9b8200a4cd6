"""How well are messages grouped, on logs that were labelled by others?

Question: of all messages, how many lie in a group that holds exactly the messages of their true template?
Rival:    Drain3 with its defaults, and with our masks first, if it is installed.
Data:     a folder with `*_structured*.csv` files (columns `Content`, `EventId`), as Loghub publishes them:
          https://github.com/logpai/loghub. They are not part of this repository.
Unit:     grouping accuracy per file, and its mean.
Command:  python tests/logs/grouping.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

from klaviyo_nb.logs.questions.masks import alike, masked


def ours(texts: Sequence[str]) -> list[Any]:
    told = masked(pa.array(texts, pa.large_string())).to_pylist()
    names = alike(told)
    return [names[text] for text in told]


def drain(texts: Sequence[str]) -> list[Any]:
    config = import_module("drain3.template_miner_config").TemplateMinerConfig()
    config.profiling_enabled = False
    miner = import_module("drain3").TemplateMiner(config=config)
    return [miner.add_log_message(text)["cluster_id"] for text in texts]


def drain_masked(texts: Sequence[str]) -> list[Any]:
    return drain(masked(pa.array(texts, pa.large_string())).to_pylist())


def accuracy(found: Sequence[Any], truth: Sequence[Any]) -> float:
    """Share of messages whose group is the same set of messages as their true one."""
    table = pd.DataFrame(
        {"found": pd.factorize(pd.Series(found))[0], "truth": pd.factorize(pd.Series(truth))[0]}
    )
    both = table.groupby(["found", "truth"]).size().rename("both").reset_index()
    sizes = {name: table[name].value_counts() for name in table}
    same = (both["both"] == both["found"].map(sizes["found"])) & (
        both["both"] == both["truth"].map(sizes["truth"])
    )
    return float(both.loc[same, "both"].sum() / len(table))


def main(folder: str) -> int:
    rivals: dict[str, Callable[[Sequence[str]], list[Any]]] = {"ours": ours}
    if find_spec("drain3"):
        rivals |= {"drain3": drain, "drain3, our masks": drain_masked}
    files = sorted(Path(folder).rglob("*_structured*.csv"))
    if not files:
        print(f"{folder}: no *_structured*.csv", file=sys.stderr)
        return 2
    rows = {}
    for path in files:
        told = pd.read_csv(path, dtype="str", keep_default_na=False)
        rows[path.stem] = [
            accuracy(how(told["Content"].tolist()), told["EventId"].tolist()) for how in rivals.values()
        ]
    table = pd.DataFrame(rows, index=list(rivals)).T
    table.loc["mean"] = table.mean()
    print(table.round(3).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
