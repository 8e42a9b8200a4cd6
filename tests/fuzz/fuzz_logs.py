"""Fuzz the reading of logs, guided by coverage: `python tests/fuzz/fuzz_logs.py [--seconds 60] [FILE…]`.

Every format's samples are the seeds, and some labelled lines; `checks.py` says what must hold. With FILEs, those are checked alone:
that is how a finding is looked at. It ends with status 0 if nothing was found. atheris is the extra `fuzz`.

Source:
    https://github.com/google/atheris · https://llvm.org/docs/LibFuzzer.html#options
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

#: What is instrumented; pandas and pyarrow would drown it.
OURS = ["klaviyo_nb.logs"]
#: Bytes of an input at most: a dozen lines; seconds that one may take.
LONGEST, PATIENCE_S = 4_096, 30
#: So many labelled lines are drawn: with all of them the time would be over before the first is changed.
DRAWN = 30


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="where findings go")
    parser.add_argument("files", nargs="*", type=Path)
    chosen = parser.parse_args()
    if chosen.files:
        from tests.fuzz.checks import check

        for path in chosen.files:
            check(path.read_bytes())
        print(f"{len(chosen.files)} inputs: nothing found")
        return
    try:
        import atheris
    except ImportError:
        sys.exit("error: atheris is not installed\ntry: pip install 'klaviyo-nb[fuzz]'")
    with atheris.instrument_imports(include=OURS):
        from tests.fuzz.checks import check, samples, seeds
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, "words")
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        every = seeds()
        for index, seed in enumerate([*samples(), *random.sample(every, DRAWN)]):
            (corpus / f"{index:04d}").write_bytes(seed[:LONGEST])
        words.write_text(dictionary(every))
        atheris.Setup(
            [
                sys.argv[0], str(corpus), f"-dict={words}", f"-max_total_time={chosen.seconds}", f"-max_len={LONGEST}",
                f"-timeout={PATIENCE_S}", "-rss_limit_mb=4096", f"-artifact_prefix={chosen.keep}/klaviyo-nb-fuzz-", "-print_final_stats=1",
                "-verbosity=0",
            ],
            check,
        )  # fmt: skip
        atheris.Fuzz()


def dictionary(texts: list[bytes]) -> str:
    """The words of the seeds, the most frequent first, in libFuzzer's form."""
    words = Counter(word for text in texts for word in re.findall(rb"[\w.+/-]{3,24}", text))
    return "".join(f'"{word.decode("ascii")}"\n' for word, _ in words.most_common(600) if word.isascii())


if __name__ == "__main__":
    main()
