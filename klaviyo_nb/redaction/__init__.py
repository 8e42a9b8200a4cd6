"""What is taken out of text, as data: `rules`, the `shapes` they are made of, the keys of other `vendors`."""
