"""Which pixels belong together."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ._base import Model, Positive


class QMapConfig(Model):
    """Which pixels belong to which q bin: a pySimpleMask file, or bins about the beam.

    The bins are rings in pixels where only the centre is known, and in q and azimuth where the geometry is:
    from pyFAI's file, or the centre with distance, energy and pixel size.
    """

    file: Path | None = None
    poni: Path | None = Field(None, description="the geometry as pyFAI writes it; needs the extra 'pyfai'")
    center: tuple[float, float] | None = Field(None, description="beam centre (x, y) = (column, row) [px]")
    distance_m: Positive | None = Field(None, description="from the sample to the beam's spot [m]")
    energy_kev: Positive | None = Field(None, description="photon energy [keV]")
    pixel_size_m: Positive | None = Field(None, description="side of a pixel [m]")
    mask: Path | None = Field(None, description="npy, TIFF or pySimpleMask file; not 0: a good pixel")
    dynamic_bins: Annotated[int, Field(ge=1)] = 8
    static_per_dynamic: Annotated[int, Field(ge=1)] = 3
    phi_bins: Annotated[int, Field(ge=1)] = Field(1, description="sectors of a dynamic ring")
    static_phi_per_dynamic: Annotated[int, Field(ge=1)] = Field(1, description="static sectors in each")
    spacing: Literal["linear", "log"] = Field("linear", description="of the rings' edges in q")
    q_min: Annotated[float, Field(ge=0)] | None = Field(None, description="inner edge [1/angstrom]")
    q_max: Positive | None = Field(None, description="outer edge [1/angstrom]")
    r_min: Annotated[float, Field(ge=0)] | None = Field(None, description="inner radius [px]")
    r_max: Positive | None = Field(None, description="outer radius [px]")

    @property
    def has_geometry(self) -> bool:
        """Whether bins can be made in q."""
        return self.poni is not None or self.distance_m is not None

    @model_validator(mode="after")
    def _one_source(self) -> "QMapConfig":
        if sum(source is not None for source in (self.file, self.poni, self.center)) != 1:
            raise ValueError("give one of 'file', 'poni' and 'center'")
        place = [
            name for name in ("distance_m", "energy_kev", "pixel_size_m") if getattr(self, name) is not None
        ]
        if place and (len(place) < 3 or self.center is None):
            raise ValueError("'distance_m', 'energy_kev' and 'pixel_size_m' go together, and with 'center'")
        return self

    @model_validator(mode="after")
    def _keys_that_count(self) -> "QMapConfig":
        if self.file is not None and (given := self._given(set(type(self).model_fields) - {"file", "mask"})):
            raise ValueError(f"with 'file' the bins are given: leave out {given}")
        only_in_q = {"phi_bins", "static_phi_per_dynamic", "spacing", "q_min", "q_max"}
        if not self.has_geometry and (given := self._given(only_in_q)):
            raise ValueError(f"{given}: give 'poni', or 'distance_m', 'energy_kev' and 'pixel_size_m'")
        return self

    def _given(self, names: set[str]) -> str:
        """Those that have another value than the default."""
        fields = type(self).model_fields
        return ", ".join(
            name for name in fields if name in names and getattr(self, name) != fields[name].default
        )


class RoiConfig(Model):
    """A rectangle of pixels whose counts are told against time."""

    x: Annotated[int, Field(ge=0)] = Field(description="first column [px]")
    y: Annotated[int, Field(ge=0)] = Field(description="first row [px]")
    width: Annotated[int, Field(ge=1)] = Field(description="columns [px]")
    height: Annotated[int, Field(ge=1)] = Field(description="rows [px]")
