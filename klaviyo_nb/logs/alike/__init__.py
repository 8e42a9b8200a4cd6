"""Many lines at once: what `formats.understand` says of each of them, many times faster.

An application's lines are alike. `json_lines` takes JSON objects by column (`grouping`: those with the same
keys; `layout`: with the same marks between their values), `likeness` all other lines (`masking`: where they
may differ; `carried`: what a collector put around them). What is not alike `understand` is asked about.
"""
