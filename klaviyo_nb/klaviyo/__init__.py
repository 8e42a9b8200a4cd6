"""What is known of the vendor: endpoints, limits, scopes, revisions, keys, and how to read an answer.

Data and pure functions; the sources of each fact are named where it stands.
"""
