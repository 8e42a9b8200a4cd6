"""Ask now: status page, API, network, our application, webhook route; all at once, under one deadline.

A probe that fails is a row, one that could not be asked is a gap; neither stops the others.
"""

from klaviyo_nb.probes.asked import ALLOWED
from klaviyo_nb.probes.runner import Probed, run
from klaviyo_nb.probes.trouble import ERROR_TYPES

__all__ = ["ALLOWED", "ERROR_TYPES", "Probed", "run"]
