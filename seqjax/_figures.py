"""What the figures of all packages share: colours, a canvas, the style of axes, and their PNG."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Matplotlib is imported when the first figure is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, GREY = "#222222", "#0b6fb8", "#9aa5ad"


def canvas(width: float, height: float) -> "Figure":
    """Makes an empty figure, sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Do not use pyplot: this needs no global state and opens no window, whatever the backend.
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(axes: "Axes", title: str, x: str, y: str) -> None:
    """Names the axes, and leaves only the lines that a reader needs."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=9, color=GREY)
    axes.grid(axis="y", color="#e6e9eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)


def png(figure: "Figure") -> bytes:
    """Returns the figure as the content of a PNG file."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
