"""How much rank at all: the loss at each budget against its parameters, the choice marked."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from autolora_meta.allocators.budget_choice import BudgetChoice, Tried
from autolora_meta.errors import InputError
from autolora_meta.reporting.style import BRIGHT, DARK, axes, styled


@styled
def loss_against_parameters(choice: BudgetChoice, ax: Axes | None = None) -> Figure:
    """The loss of each budget minus that of the best, with one standard error, paired over rows.

    The choice is the leftmost budget whose bar reaches down to the line at zero. Budgets whose
    retraining lost its way are left out.

    Args:
        choice: among budgets.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: no budget has a loss.

    Example:
        >>> loss_against_parameters(BudgetChoice.load("budgets/0b1d.json"))  # doctest: +SKIP
    """
    shown = [(one, one.difference, one.standard_error) for one in choice.tried]
    points = [(one, d, s) for one, d, s in shown if d is not None and s is not None]
    if not points:
        raise InputError("there is nothing to draw; give a choice with at least one finite loss")
    figure, ax = axes(ax, 4.6, 2.9)
    sizes = [one.parameters for one, _, _ in points]
    ax.axhline(0, color="black", linewidth=0.8)
    ax.plot(sizes, [d for _, d, _ in points], color="#cccccc", linewidth=0.9, zorder=1)
    for one, d, s in points:
        _draw(ax, one, d, s, taken=one == choice.tried[choice.chosen])
    if len(points) > 1:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.margins(x=0.12, y=0.15)
    ax.set_xlabel("adapter parameters")
    ax.set_ylabel("loss above the best budget\n(down is better)")
    best = choice.tried[choice.best].name
    ax.set_title(
        f"difference from {best} and its standard error, over {choice.rows:,} rows", loc="left"
    )
    return figure


def _draw(ax: Axes, one: Tried, difference: float, error: float, *, taken: bool) -> None:
    """Draw a budget with its bar and its name; the one that is taken is filled and larger."""
    ax.vlines(one.parameters, difference - error, difference + error, color=DARK, linewidth=1.4)
    if taken:
        ax.plot(one.parameters, difference, "o", color="black", markersize=9, zorder=3)
    fill = BRIGHT if taken else "white"
    ax.plot(
        *(one.parameters, difference, "o"), color=DARK, markerfacecolor=fill,
        markersize=7 if taken else 5, zorder=4,
    )  # fmt: skip
    ax.annotate(
        f"{one.name}\n(chosen)" if taken else one.name,
        (one.parameters, difference + error),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7,
        fontweight="bold" if taken else "normal",
    )
