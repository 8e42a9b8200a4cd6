"""What the commands of `klaviyo-nb` do: a module per command or family, and what several of them share.

Their arguments are in `cli`; those of commands about a report in `reports`. What several share is in `steps`,
`options`, `terminal` and `meter`.
"""
