"""Charts as SVG text: lines, heat maps, bars. Colors are CSS variables of the page.

Every chart is drawn twice, wide and slim, because scaled-down text cannot be read on a
phone; the page shows the one that fits. No script, no library.
"""

from visus.report.charts.bars import Bar, bar_chart, share_bars
from visus.report.charts.curves import line_chart
from visus.report.charts.heat import heat_map
from visus.report.charts.intervals import Dot, dot_chart
from visus.report.charts.lanes import Lane, lane_chart
from visus.report.charts.mosaic import mosaic, small_mosaic
from visus.report.charts.scale import Axis
from visus.report.charts.series import Mark, Series

__all__ = [
    "Axis",
    "Bar",
    "Dot",
    "Lane",
    "Mark",
    "Series",
    "bar_chart",
    "dot_chart",
    "heat_map",
    "lane_chart",
    "line_chart",
    "mosaic",
    "share_bars",
    "small_mosaic",
]
