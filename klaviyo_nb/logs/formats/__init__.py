"""From a record's lines to what they say: pure, and mostly data.

`envelopes` (what a collector wraps around a line) → `times`, `keys` (JSON), `printed` (values that stand in
a text), `text` by its `patterns` (everything else) → `reading` → `understand` (a call, a webhook, or only a
mention).
"""
