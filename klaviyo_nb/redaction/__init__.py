"""What is taken out of text, as data: `rules` for secrets, then what is `personal`; keys of other `vendors`.

`shapes` are what rules are made of; `wrapped` finds base64 that is broken into lines.
"""
