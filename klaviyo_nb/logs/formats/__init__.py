"""From a record's lines to what they say: pure, and mostly data.

`envelopes` (what a collector wraps around a line) → `times`, `keys` (JSON and logfmt), `text` (everything
else) → `reading` (what the record tells of: a call, a webhook, or only a mention).
"""
