"""The chart of the report, where matplotlib is installed."""

from importlib.util import find_spec
from pathlib import Path

from seedbed.core.files import replacing
from seedbed.core.reports import EvalReport
from seedbed.evaluation.scoring import ALL

_ARMS = ("copy_input", "copy_demonstration", "base", "base_template", "adapter", "adapter_unseen_form")
_COLOURS = ("#c7c7c7", "#9a9a9a", "#7fb2d9", "#2f78b3", "#e07b39", "#a8501a")


def draw_scores(report: EvalReport, path: Path) -> bool:
    """Draw the score of every arm on every category; False where there is none, or matplotlib is not installed."""
    if not report.scores or find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    categories = [ALL, *sorted({score.category for score in report.scores} - {ALL})]
    arms = [arm for arm in _ARMS if any(score.arm == arm for score in report.scores)]
    heights = {(score.arm, score.category): score.score * 100 for score in report.scores}
    figure = Figure(figsize=(2 + 1.6 * len(categories), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(arms)
    for number, arm in enumerate(arms):
        places = [place + (number - (len(arms) - 1) / 2) * width for place in range(len(categories))]
        values = [heights[arm, category] for category in categories]
        axes.bar(places, values, width, label=arm, color=_COLOURS[_ARMS.index(arm)])
    axes.set_xticks(range(len(categories)), categories)
    axes.set_ylabel("score, %")
    axes.set_ylim(0, 100)
    axes.set_title(f"{report.adapter_id}: {report.decision}", fontsize=10)
    axes.legend(fontsize=8, ncols=2)
    with replacing(path) as stream:
        figure.savefig(stream, format="png", dpi=120)
    return True
