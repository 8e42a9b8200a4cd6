"""The charts: each says one thing, in its headline, in its alt text, and in the table behind it.

Every chart is a function of evidence and verdict that returns a matplotlib figure; its label (`get_label`) is
the alt text. A chart that has nothing to show says what was not observed. `save_all` writes them as SVG, PNG
and CSV.
"""

from klaviyo_nb.report import diagrams
from klaviyo_nb.report.charts.answers import contrast, failure_map, ledger, retries
from klaviyo_nb.report.charts.gallery import CHARTS, chart, draw_ahead, save_all
from klaviyo_nb.report.charts.limits import rate_limit_headroom
from klaviyo_nb.report.charts.traffic import calls_by_status, latency

__all__ = ["CHARTS", "calls_by_status", "contrast", "decision_path", "draw_ahead",
           "failure_map", "latency", "ledger", "rate_limit_headroom", "retries", "save_all",
           "timeline"]  # fmt: skip

timeline = chart("Timeline")(diagrams.timeline)
decision_path = chart("The path through the decision tree")(diagrams.decision_path)
