"""What it means: facts, the tree, severity, a verdict. Pure: no clock, network, disk or environment."""

from klaviyo_nb.diagnosis.decide import decide

__all__ = ["decide"]
