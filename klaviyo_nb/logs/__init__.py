"""Log sources into a CALLS and a WEBHOOKS frame, each row with a citation.

`sources` say where lines come from, `scan` finds the records that matter, `formats` says what they tell,
`engines` where that happens; `calls` answers questions on the frame.
"""

from klaviyo_nb.logs.reader import LogsRead, read

__all__ = ["LogsRead", "read"]
