"""Incident response for applications that talk to Klaviyo.

The command line (`klaviyo-nb`) and the notebooks are two thin faces of the same functions; start reading at
`collect` (what we can see), `diagnosis` (what it means), `response` (what to do) and `report` (what we keep).
"""

__version__ = "0.1.0"
