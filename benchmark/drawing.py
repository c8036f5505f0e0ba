"""The figures as an SVG: one bar each, as long as the part of its goal that it uses."""

from typing import Any
from xml.sax.saxutils import escape

from benchmark.goals import GOALS

ROW, LABELS, GOAL_AT, WIDTH = 22, 330, 400, 900
REACHED, MISSED, INK = "#2e7d4f", "#b3382c", "#222"


def svg(figures: dict[str, Any]) -> str:
    """A bar that crosses the line misses its goal."""
    height = ROW * (len(GOALS) + 2)
    goal_x = LABELS + GOAL_AT
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
            f'font-size="12" fill="{INK}">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{goal_x}" y="{ROW - 7}" text-anchor="middle">goal</text>',
    ]
    for row, goal in enumerate(GOALS, 1):
        value, y = goal.value(figures), ROW * row
        used = goal.used(value)
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 15}" text-anchor="end">{escape(goal.path)}</text>',
            (
                f'<rect x="{LABELS}" y="{y + 3}" width="{min(1.3, used) * GOAL_AT:.0f}" height="{ROW - 6}" '
                f'fill="{REACHED if used <= 1 else MISSED}" fill-opacity="0.8"/>'
            ),
            f'<text x="{LABELS + 6}" y="{y + 15}">{value:.4g} (goal {goal.sense} {goal.limit:g})</text>',
        ]
    line = f'y1="{ROW}" x2="{goal_x}" y2="{height - ROW}"'
    parts.append(f'<line x1="{goal_x}" {line} stroke="{INK}" stroke-dasharray="4 3"/></svg>')
    return "\n".join(parts)
