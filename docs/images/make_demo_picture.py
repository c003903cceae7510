"""Draw the picture of the README from a real run: `python docs/images/make_demo_picture.py STATE_FOLDER`.

Drawn is the newest result in the catalogue of the server that runs on the state folder (`apsdm up`): g2 with
its errors and fits, the decay rates, and the sum image.
"""

import io
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from PIL import Image
from scipy.ndimage import binary_closing

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError, ServiceError
from apsdm_bluesky.tiled_config import connect, running_server, server_key

PICTURE = Path(__file__).with_name("demo.png")


def main(home: Path) -> None:
    """Read the newest result and write the picture."""
    start, data, qmap = newest_result(home)
    with mpl.rc_context({"font.size": 9, "axes.titlesize": 10}):
        figure = plt.figure(figsize=(10.4, 4.1), layout="constrained")
        panels = figure.subplot_mosaic(
            [["g2", "rates", "image"], ["rest", "deviation", "image"]],
            width_ratios=(1.3, 0.9, 1.5),
            height_ratios=(2.2, 1),
        )
        draw_g2(panels["g2"], panels["rest"], data, qmap, start)
        draw_rates(panels["rates"], panels["deviation"], data, start["frame_period_s"])
        draw_image(figure, panels["image"], data, qmap)
        save(figure)


def save(figure: Any) -> None:
    """As PNG in 256 colours, a third of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


def newest_result(home: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Start document, result and q-map of the newest analysis run."""
    config = BeamlineConfig(home=home)
    uri = running_server(config)
    if uri is None:
        raise ServiceError(f"no Tiled server runs on {home}; start one with 'apsdm up --home {home}'")
    client = connect(uri, server_key(config))
    runs = client["processed"].sort(("start.time", -1)).values()
    run = next((run for run in runs if "primary" in run), None)
    if run is None:
        raise ServiceError(f"{uri}: the catalogue holds no result; take one with 'apsdm demo --home {home}'")
    return run.metadata["start"], read(run["primary"]), read(run["qmap"])


def read(stream: Any) -> dict[str, Any]:
    """The values of a stream's one event."""
    return {key: stream[key].read()[0] for key in stream if not key.startswith("ts_")}


def draw_g2(axis: Any, below: Any, data: dict[str, Any], qmap: dict[str, Any], start: dict[str, Any]) -> None:
    """Points with errors, coloured by q, and the fitted curves; below, what the fits leave."""
    delays, q, period = data["delays"], data["q"], start["frame_period_s"]
    smooth = np.geomspace(delays[0], delays[-1], 300)
    widths = frames_in_mean(delays, start["configuration"]["delays_per_level"])
    for i, colour in enumerate(colours_of(data)):
        points = {"fmt": "o", "ms": 3, "lw": 0.9, "color": colour}
        axis.plot(smooth * period, fitted(i, smooth, 1, data, qmap), color=colour, lw=1)
        axis.errorbar(delays * period, data["g2"][:, i], data["g2_err"][:, i], label=f"{q[i]:.0f}", **points)
        rest = data["g2"][:, i] - fitted(i, delays, widths, data, qmap)
        below.errorbar(delays * period, 1000 * rest, 1000 * data["g2_err"][:, i], alpha=0.7, **points)
    below.axhline(0, color="black", lw=0.8, zorder=3)
    axis.set(xscale="log", ylabel=r"$g_2$", title="Correlation and fits", xticklabels=[])
    axis.legend(title=f"q [{qmap['q_unit']}]", frameon=False, ncols=2, handletextpad=0.2, columnspacing=1)
    below.set(xscale="log", xlabel="delay [s]", ylabel="$g_2$ - fit [10$^{-3}$]", xlim=axis.get_xlim())


def frames_in_mean(delays: Any, per_level: int) -> Any:
    """Frames that multi-tau averages at each delay: 1 up to twice `per_level`, then twice as many a level."""
    return np.exp2(np.maximum(np.ceil(np.log2(delays / (2 * per_level))), 0))


def fitted(i: int, delays: Any, widths: Any, data: dict[str, Any], qmap: dict[str, Any]) -> Any:
    """The fitted g2 of a dynamic bin; its static bins decay with rates gamma (q_s / q)^2.

    `widths` is the number of frames in the means that are correlated.
    """
    inside = np.unique(qmap["static_map"][qmap["dynamic_map"] == i + 1])
    rates = 2 * (data["gamma"][i] * (qmap["static_q"][inside - 1] / data["q"][i]) ** 2)[:, np.newaxis]
    averaged = np.expm1(-rates * widths) / (widths * np.expm1(-rates))
    decay = np.exp(-rates * (delays - widths + 1)) * averaged**2
    return data["baseline"][i] + data["contrast"][i] * decay.mean(axis=0)


def draw_rates(axis: Any, below: Any, data: dict[str, Any], period: float) -> None:
    """Rates against q^2 with the diffusion coefficient; below, their deviation from it."""
    x = data["q"] ** 2 / 1000
    expected = data["diffusion"] * data["q"] ** 2
    axis.axline((0, 0), (x[-1], expected[-1] / period), color="0.6", lw=1, label=r"$\Gamma = D\,q^2$")
    for i, colour in enumerate(colours_of(data)):
        points = {"fmt": "o", "ms": 4, "color": colour}
        axis.errorbar(x[i], data["gamma"][i] / period, data["gamma_err"][i] / period, **points)
        percent = 100 / expected[i]
        below.errorbar(x[i], data["gamma"][i] * percent - 100, data["gamma_err"][i] * percent, **points)
    below.axhline(0, color="0.6", lw=1, zorder=0)
    axis.set(xlim=(0, x[-1] * 1.08), ylim=(0, None), ylabel=r"$\Gamma$ [1/s]", xticklabels=[])
    axis.set(title="Decay rates")
    axis.legend(frameon=False, loc="upper left")
    below.set(xlim=(0, x[-1] * 1.08), xlabel=r"$q^2$ [10$^3$ px$^2$]", ylabel=r"$\Gamma / Dq^2 - 1$ [%]")


def draw_image(figure: Any, axis: Any, data: dict[str, Any], qmap: dict[str, Any]) -> None:
    """The sum image with the borders of the q bins."""
    image = np.ma.masked_equal(data["sum_image"], 0)
    low, high = np.percentile(image.compressed(), (0.1, 99.9))
    greys = mpl.colormaps["gray"].with_extremes(bad="black")
    shown = axis.imshow(image, norm=LogNorm(low, high), cmap=greys, interpolation="nearest")
    draw_rings(axis, data, qmap)
    axis.set(xlabel="x [px]", ylabel="y [px]", title=f"Sum of {data['frames']} frames and q bins")
    ticks = [tick for tick in (100, 200, 500, 1000, 2000, 5000, 10000) if low <= tick <= high]
    bar = figure.colorbar(shown, ax=axis, label="counts", ticks=ticks, extend="both", shrink=0.85)
    bar.ax.set_yticklabels([f"{tick}" for tick in ticks])
    bar.ax.minorticks_off()


def draw_rings(axis: Any, data: dict[str, Any], qmap: dict[str, Any]) -> None:
    """Borders of the dynamic bins in the colours of the curves."""
    for i, colour in enumerate(colours_of(data)):
        # The border of the whole ring, blemishes filled in: they are no borders.
        ring = binary_closing(np.pad(qmap["dynamic_map"] == i + 1, 3), iterations=3)[3:-3, 3:-3]
        axis.contour(ring, [0.5], colors=[colour], linewidths=1.1)


def colours_of(data: dict[str, Any]) -> Any:
    """A colour for each q bin."""
    return mpl.colormaps["plasma"](np.linspace(0.05, 0.9, len(data["q"])))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (ApsdmError, IndexError) as error:
        sys.exit(f"make_demo_picture: {error}" if isinstance(error, ApsdmError) else __doc__)
