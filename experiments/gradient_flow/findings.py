"""What a run has found, in sentences whose every number and verdict is computed from it."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from experiments.gradient_flow.config import Config
from experiments.gradient_flow.grid import Point
from experiments.gradient_flow.metrics import COSINE, LOSSES, SPIKE, Metrics, slope_of
from experiments.gradient_flow.tasks import make_task, window_floor
from experiments.gradient_flow.train_tasks import WINDOW
from experiments.intervals import summarise


def findings(config: Config, metrics: Metrics) -> list[str]:
    """Returns the findings, each a paragraph; what the grid leaves out has none.

    Args:
      config: the settings.
      metrics: from `all_metrics`.

    Returns:
      The paragraphs.
    """
    parts: Sequence[Callable[[Config, Metrics], Iterator[str]]] = (
        vanishing, memory, lyapunov, gates, truncation, online, learning, window, clipping,
    )  # fmt: skip
    paragraphs = (" ".join(part(config, metrics)) for part in parts)
    return [paragraph for paragraph in paragraphs if paragraph]


def vanishing(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says what the spectral radius does to the gradients of a vanilla network."""
    length = config.measured_lengths[-1]
    points = [p for p in config.points if p.cell == "rnn"]
    radii = sorted((p for p in points if p.init.startswith("radius_")), key=lambda p: p.number)
    if not points:
        return
    slopes = {p: metrics[f"log_slope_hidden/{p.label}/{length}"] for p in points}
    told = "; ".join(f"{value(slopes[p])} with {_how(p)}" for p in [*radii, *_rest(points, radii)])
    yield f"**Vanilla network.** The log-slope of |dL/dh| a step back, at T = {length}, is {told}."
    if not radii:
        return
    smallest, largest = radii[0], radii[-1]
    per_50 = f"{np.exp(50 * slopes[smallest]['mean']):.1e}"
    if sign(slopes[smallest]) < 0:
        yield f"Gradients vanish at radius {smallest.number:g}: a factor of {per_50} in 50 steps."
    else:
        yield f"This run does not show gradients vanish at radius {smallest.number:g}."
    if largest == smallest:
        return
    per_50 = f"{np.exp(50 * slopes[largest]['mean']):.1e}"
    if sign(slopes[largest]) > 0:
        yield f"They explode at radius {largest.number:g}: a factor of {per_50} in 50 steps."
    else:
        yield f"This run does not show them explode at radius {largest.number:g}."


def memory(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says what gates and their biases do to the gradient."""
    length = config.measured_lengths[-1]
    gated = [p for p in config.points if p.cell != "rnn"]
    slopes = {}
    for point in gated:
        of_hidden = slope_of(metrics, point, length)
        slopes[point] = metrics.get(f"log_slope_cell/{point.label}/{length}", of_hidden)
    if not gated:
        return
    yield f"**Gates.** At T = {length} the log-slope (of dL/dc of cells with a c, else of dL/dh) is"
    yield "; ".join(f"{value(slopes[p])} for {p.label}" for p in gated) + "."
    biases = sorted((p for p in gated if p.init.startswith("forget_")), key=lambda p: p.number)
    if len(biases) > 1:
        low, high = biases[0], biases[-1]
        apart = sign(_difference(slopes[high], slopes[low]))
        verdict = {1: "keeps more", -1: "keeps less", 0: "does not clearly keep more"}[apart]
        yield (
            f"A forget bias of {high.number:g} {verdict} of it than one of {low.number:g}: a "
            f"factor of {_per(slopes[high], 50)} against {_per(slopes[low], 50)} in 50 steps."
        )
    plain = metrics.get(f"log_slope_hidden/rnn/radius_0.9/{length}")
    if plain is not None:
        above = [p.label for p in gated if sign(_difference(slopes[p], plain)) > 0]
        yield (
            f"It falls more slowly than in the vanilla network of radius 0.9 "
            f"({_per(plain, 50)} in 50 steps) for {_listed(above)}."
        )


def lyapunov(config: Config, metrics: Metrics) -> Iterator[str]:
    """Compares the largest Lyapunov exponent with the slope of the gradient."""
    length = config.measured_lengths[-1]
    same, spectra = [], []
    for point in config.points:
        slope = slope_of(metrics, point, length)["mean"]
        exponent = metrics[f"lyapunov_1/{point.label}"]
        spectra.append(f"{value(exponent)} for {point.label}")
        same.append(np.sign(slope) == np.sign(exponent["mean"]))
    yield f"**Lyapunov exponents.** The largest, per step, is {'; '.join(spectra)}."
    yield f"Its sign is that of the gradient's log-slope in {sum(same)} of {len(same)} cases."


def gates(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says how long the units remember, and how saturated the gates are."""
    scales = {p: metrics.get(f"time_scale/{p.label}") for p in config.points}
    known = [f"{value(m)} steps for {p.label}" for p, m in scales.items() if m is not None]
    if known:
        yield f"**Time-scales.** The median unit keeps its state for {'; '.join(known)}."
    saturated = [
        f"{100 * metric['mean']:.0f} % of {name.partition('/')[2]} "
        f"({name.partition('/')[0].removeprefix('saturation_')})"
        for name, metric in metrics.items()
        if name.startswith("saturation_") and metric["mean"] >= 0.05
    ]
    if saturated:
        yield f"Saturated at the start (5 % or more): {'; '.join(saturated)}."


def truncation(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says how far back-propagation must reach."""
    steps = [
        f"{metrics[f'truncation_steps/{p.label}']['mean']:.0f} for {p.label}" for p in config.points
    ]
    yield (
        f"**Truncation.** For a cosine of {COSINE:g} with the full gradient over "
        f"{config.measured_lengths[-1]} steps, the last output's loss must be propagated back "
        f"(powers of two tried, mean over seeds) {'; '.join(steps)} steps."
    )


def online(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says how much the gradients of online methods agree with the full one."""
    for method in config.online_methods:
        names = {p.label: f"online_{{}}_{method}/{p.label}" for p in config.points}
        told = [
            f"{value(metrics[name.format('cosine')])} for {label} (norm ratio "
            f"{metrics[name.format('ratio')]['mean']:.3g})"
            for label, name in names.items()
            if name.format("cosine") in metrics
        ]
        if told:
            yield (
                f"**Online gradients, {method}.** At T = {config.measured_lengths[0]}, the cosine "
                f"with the full gradient is {'; '.join(told)}."
            )


def learning(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says which networks learnt which task, against chance."""
    for name in config.trained_tasks:
        task = make_task(config, name)
        told, at_chance = [], []
        for label in [*(p.label for p in config.train_points), WINDOW]:
            reached = metrics[f"success/{name}/{label}"]["per_seed"]
            updates = metrics[f"updates_to_threshold/{name}/{label}"]["per_seed"]
            loss = metrics[f"{LOSSES[name]}/{name}/{label}"]
            got = [each for each, success in zip(updates, reached, strict=True) if success]
            when = f", after {np.median(got):.0f} updates (median)" if got else ""
            told.append(f"{label} {sum(reached):.0f} of {len(reached)} seeds{when}")
            if not loss["mean"] < 0.95 * task.chance:
                at_chance.append(f"{label} ({value(loss)})")
        yield (
            f"**Learning, {name}.** Below {config.threshold:g} of chance ({task.chance:.4g} "
            f"{task.unit}) within {config.steps} updates: {'; '.join(told)}."
        )
        if at_chance:
            yield f"Still at chance at the end, within 5 %: {'; '.join(at_chance)}."
        else:
            yield "None is still at chance, within 5 %, at the end."


def window(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says what a network without memory reaches."""
    loss = metrics.get(f"{LOSSES['adding']}/adding/{WINDOW}")
    if loss is None:
        return
    floor = window_floor(config.adding_length, config.window)
    relation = "not below it" if loss["mean"] >= floor else f"{floor - loss['mean']:.2g} below it"
    yield (
        f"**Without memory.** The feed-forward network sees {config.window} of "
        f"{config.adding_length} steps; the best that any function of these can do is {floor:.4g}, "
        f"and it tests at {value(loss)}, {relation} (chance: "
        f"{make_task(config, 'adding').chance:.4g})."
    )


def clipping(config: Config, metrics: Metrics) -> Iterator[str]:
    """Says what clipping does to a network whose gradients explode."""
    if "spikes/clipped" not in metrics:
        return

    def of(name: str, which: str) -> np.ndarray:
        return np.asarray(metrics[f"{name}/{which}"]["per_seed"], float)

    with_, without = (of("spikes", which).sum() for which in ("clipped", "unclipped"))
    lost = [int(of("diverged", which).sum()) for which in ("clipped", "unclipped")]
    yield (
        f"**Clipping.** Radius {config.clip_radius:g}, {config.clip_steps} updates of gradient "
        f"descent on adding, {config.seeds} seeds: a training loss above {SPIKE:g} times chance at "
        f"{without:.0f} updates without clipping and {with_:.0f} with; a last test as bad in "
        f"{lost[1]} seeds without and {lost[0]} with."
    )
    rate, cut = metrics["clipping_rate/clipped"], metrics["clipped_fraction/clipped"]
    yield (
        f"Clipping at {config.clip_norm:g} shortened {100 * rate['mean']:.0f} % of the gradients, "
        f"by {100 * cut['mean']:.0f} % of their norm on average; the largest norm was "
        f"{_largest(of('largest_grad_norm', 'unclipped'))} without and "
        f"{_largest(of('largest_grad_norm', 'clipped'))} with."
    )
    if with_ < without or lost[0] < lost[1]:
        yield "Clipping tames the explosions."
    elif not without and not lost[1]:
        yield "Nothing blew up without clipping either: this run does not show that it helps."
    else:
        yield "This run does not show that clipping helps."


def value(metric: dict) -> str:
    """Returns a mean and its interval in words."""
    low, high = metric["ci95"]
    if low is None or not np.isfinite([low, high]).all():
        return f"{metric['mean']:.3g}"
    return f"{metric['mean']:.3g} ({low:.3g} to {high:.3g})"


def sign(metric: dict) -> int:
    """Returns the sign of a mean if its interval leaves no doubt, else 0."""
    low, high = metric["ci95"]
    low, high = (metric["mean"],) * 2 if low is None else (low, high)
    return 1 if low > 0 else -1 if high < 0 else 0


def _difference(first: dict, second: dict) -> dict:
    """Returns the difference of two metrics seed by seed, and its interval."""
    return summarise(np.subtract(first["per_seed"], second["per_seed"]).tolist())


def _per(slope: dict, steps: int) -> str:
    return f"{np.exp(steps * slope['mean']):.2g}"


def _largest(values: np.ndarray) -> str:
    return f"{values.max():.3g}" if np.isfinite(values).all() else "not finite"


def _how(point: Point) -> str:
    if point.init.startswith("radius_"):
        return f"spectral radius {point.number:g}"
    return "the identity and rectified linear units" if point.init == "identity" else point.init


def _rest(points: Sequence[Point], radii: Sequence[Point]) -> list[Point]:
    return [point for point in points if point not in radii]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none of them"
