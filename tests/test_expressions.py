"""Regular expressions are compiled when they are first used."""

from __future__ import annotations

import gc
import pkgutil
import re
import subprocess
import sys
from importlib import import_module

import pytest

import klaviyo_nb
from klaviyo_nb import expressions
from klaviyo_nb.expressions import expression

COUNTS = """
import re
compile, made = re._compiler.compile, []
re._compiler.compile = lambda pattern, flags=0: made.append(pattern) or compile(pattern, flags)
import klaviyo_nb.logs.records
from klaviyo_nb.logs.formats.silence import no_response
before = sum("ECONNRESET" in str(each) for each in made)
no_response("read ECONNRESET")
print(before, sum("ECONNRESET" in str(each) for each in made))
"""


def test_an_expression_finds_what_the_compiled_one_finds() -> None:
    given = r"(?P<v>\d+)x", re.IGNORECASE
    late, compiled = expression(*given), re.compile(*given)
    for text in ("a 12X b 3x", "none"):
        assert [each.span() for each in late.finditer(text)] == [
            each.span() for each in compiled.finditer(text)
        ]
        assert late.sub("-", text) == compiled.sub("-", text)
        assert late.findall(text) == compiled.findall(text)
        assert late.split(text) == compiled.split(text)
        assert bool(late.search(text, 3)) == bool(compiled.search(text, 3))
        assert bool(late.match(text, 2)) == bool(compiled.match(text, 2))
    assert late.pattern == compiled.pattern


def test_an_expression_is_compiled_at_its_first_use() -> None:
    broken = expression("(")
    with pytest.raises(re.error):
        broken.search("")


def test_reading_logs_is_imported_without_compiling_what_it_seeks() -> None:
    done = subprocess.run([sys.executable, "-c", COUNTS], check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert (before, after > 0) == (0, True)


def test_every_expression_of_ours_compiles() -> None:
    for module in pkgutil.walk_packages(klaviyo_nb.__path__, "klaviyo_nb."):
        if not module.name.endswith("__main__") and not module.name.startswith("klaviyo_nb.notebooks"):
            import_module(module.name)
    ours = [each for each in gc.get_objects() if type(each) is expressions._Pattern and each.pattern != "("]
    assert len(ours) > 250
    for each in ours:
        each.search("" if isinstance(each.pattern, str) else b"")
