"""Groups and datasets of an XPCS result file: NXxpcs, and what pyXpcsViewer reads, each number stored once.

NXxpcs: the definition of that name in the NeXus definitions (contributed_definitions/NXxpcs.nxdl.xml).
pyXpcsViewer: the paths of xpcs-viewer 1.2.2 (pyxpcsviewer/core/file_io/aps_8idi.py) in boost-corr's shapes.
"""

from typing import Any

import h5py
import numpy as np

from ._qmap_writer import write_qmap
from ._xpcs_record import TwoTimeMaps, XpcsRecord

# Smaller arrays are not worth a filter. Each HDF5 library has these two.
_COMPRESSED_BYTES = 16_384
_FILTERS = {"compression": "gzip", "compression_opts": 4, "shuffle": True}

# Parts of the time that two-time maps are also averaged in, as boost-corr does.
_PARTS = 5


def fill(file: h5py.File, record: XpcsRecord) -> None:
    """Write the whole record into an empty file."""
    file.attrs["NX_class"] = "NXroot"
    file.attrs["default"] = "entry"
    _write_xpcs(_group(file, "xpcs", "NXcollection"), record)
    entry = _group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    _write_entry(entry, record)
    _write_data(_group(entry, "data", "NXdata"), file["xpcs"], record)
    if record.two_time is not None:
        _write_two_time_links(_group(entry, "twotime", "NXdata"), file["xpcs/twotime"])
    _write_instrument(_group(entry, "instrument", "NXinstrument"), file["xpcs/qmap"], record)
    _write_process(_group(entry, "process", "NXprocess"), record)
    # The definition has its NXprocess beside the entry, base classes have theirs inside.
    file["process"] = entry["process"]


def _write_xpcs(xpcs: h5py.Group, record: XpcsRecord) -> None:
    """What pyXpcsViewer reads."""
    _write_qmap(_group(xpcs, "qmap", "NXcollection"), record)
    multitau = _group(xpcs, "multitau", "NXcollection")
    _field(multitau, "delay_list", record.delays, "frames")
    _field(multitau, "levels", record.levels)
    _field(multitau, "pairs", record.pairs)
    _field(multitau, "normalized_g2", record.g2, "")
    _field(multitau, "normalized_g2_err", record.g2_err, "")
    if record.g2_segments is not None:
        _field(multitau, "normalized_g2_partial", record.g2_segments, "")
        # pyXpcsViewer shows the parts only with errors, which they have none of.
        _field(multitau, "normalized_g2_partial_err", np.full_like(record.g2_segments, np.nan), "")
        labels = [f"from frame {first}" for first in record.g2_segment_first]
        _field(multitau, "normalized_g2_partial_labels", labels)
    _write_steps(multitau, 1)
    in_time = _group(xpcs, "temporal_mean", "NXcollection")
    mean_image = (record.sum_image / max(record.frames, 1)).astype(np.float32)
    _field(in_time, "scattering_2d", mean_image[np.newaxis], "counts")
    _field(in_time, "scattering_1d", record.saxs[np.newaxis], "counts")
    if record.saxs_segments is None:
        _link(in_time, "scattering_1d_segments", in_time["scattering_1d"])
    else:
        _field(in_time, "scattering_1d_segments", record.saxs_segments, "counts")
    in_space = _group(xpcs, "spatial_mean", "NXcollection")
    _field(in_space, "intensity_vs_time", np.stack([record.frame_index, record.total]), "counts")
    if record.two_time is not None:
        _write_two_time(_group(xpcs, "twotime", "NXcollection"), record.two_time)


def _write_qmap(group: h5py.Group, record: XpcsRecord) -> None:
    """With NaN for what pyXpcsViewer demands and nobody knows."""
    write_qmap(group, record.qmap)
    if record.qmap.geometry is None:
        group["pixel_size"] = group["detector_distance"] = np.nan
    if not record.center_known:
        group["beam_center_x"][()] = group["beam_center_y"][()] = np.nan


def _write_steps(group: h5py.Group, frames: int) -> None:
    """A step in time: so many frames averaged, none left out."""
    config = _group(group, "config", "NXcollection")
    _field(config, "avg_frame", frames)
    _field(config, "stride_frame", 1)


def _write_two_time(group: h5py.Group, two_time: TwoTimeMaps) -> None:
    maps = _group(group, "correlation_map", "NXcollection")
    for number, c2 in enumerate(two_time.c2, start=1):
        _field(maps, f"c2_{number:05d}", np.triu(c2), "")
    _field(group, "processed_bins", two_time.bins)
    g2 = two_time.g2()[:, 0]
    _field(group, "delay_list", np.arange(len(g2)) * two_time.width, "frames")
    _field(group, "normalized_g2", g2, "")
    _field(group, "normalized_g2_segments", two_time.g2(min(_PARTS, len(g2))), "")
    _write_steps(group, two_time.width)


def _write_entry(entry: h5py.Group, record: XpcsRecord) -> None:
    facts = record.provenance
    _field(entry, "definition", "NXxpcs")
    _field(entry, "entry_identifier", facts.identifier)
    _field(entry, "start_time", facts.start_time)
    known = {
        "end_time": facts.end_time,
        "entry_identifier_uuid": facts.raw_uid,
        "scan_number": facts.scan_id,
    }
    _fields(entry, {name: value for name, value in known.items() if value not in {None, ""}})
    if facts.sample:
        _field(_group(entry, "sample", "NXsample"), "name", facts.sample)
    if facts.ledger:
        _fields(_group(entry, "ledger", "NXcollection"), dict(facts.ledger))


def _write_data(data: h5py.Group, xpcs: h5py.Group, record: XpcsRecord) -> None:
    data.attrs["signal"] = "g2"
    data.attrs["axes"] = ["delay_difference", "."]
    data.attrs["delay_difference_indices"] = 0
    _field(data, "frame_sum", record.sum_image, "counts")
    _link(data, "frame_average", xpcs["temporal_mean/scattering_2d"])
    for name, source in (
        ("g2", "normalized_g2"),
        ("g2_derr", "normalized_g2_err"),
        ("delay_difference", "delay_list"),
    ):
        _link(data, name, xpcs["multitau"][source], storage_mode="one_array")


def _write_two_time_links(group: h5py.Group, source: h5py.Group) -> None:
    group.attrs["signal"] = "g2_from_two_time_corr_func"
    _link(
        group,
        "two_time_corr_func",
        source["correlation_map"],
        storage_mode="data_exchange_keys",
        baseline_reference=1,
        time_origin_location="upper_left",
        populated_elements="upper_half",
    )
    _link(
        group,
        "g2_from_two_time_corr_func",
        source["normalized_g2"],
        storage_mode="one_array_q_last",
        baseline_reference=1,
        first_point_for_fit=0,  # lag 0 holds the photon noise
    )
    _link(
        group,
        "g2_from_two_time_corr_func_partials",
        source["normalized_g2_segments"],
        storage_mode="other",  # (delay, part, q): the definition would have the part last
        baseline_reference=1,
    )


def _write_instrument(instrument: h5py.Group, qmap: h5py.Group, record: XpcsRecord) -> None:
    facts = record.provenance
    beam = _group(instrument, "incident_beam", "NXbeam")
    geometry = record.qmap.geometry
    energy = facts.energy_kev if geometry is None else geometry.energy_kev
    _field(beam, "incident_energy", energy, "keV")
    detector = _group(instrument, "detector_1", "NXdetector")
    if facts.detector:
        _field(detector, "description", facts.detector)
    _field(detector, "count_time", facts.exposure_s, "s")
    _field(detector, "frame_time", facts.frame_period_s, "s")
    _link(detector, "beam_center_x", qmap["beam_center_x"], units="pixel")
    _link(detector, "beam_center_y", qmap["beam_center_y"], units="pixel")
    _link(detector, "distance", qmap["detector_distance"], units="m")
    _link(detector, "x_pixel_size", qmap["pixel_size"], units="m")
    _link(detector, "y_pixel_size", qmap["pixel_size"], units="m")
    masks = _group(instrument, "masks", "NXnote")
    _link(masks, "dynamic_roi_map", qmap["dynamic_roi_map"], units="au")
    _link(masks, "static_roi_map", qmap["static_roi_map"], units="au")
    _field(masks, "dynamic_q_list", record.qmap.q, record.qmap.unit)
    _field(masks, "static_q_list", record.qmap.static_q, record.qmap.unit)
    if record.qmap.phi is not None:
        _field(masks, "dynamic_phi_list", record.qmap.phi, "degree")
    # pyXpcsViewer takes a file for one of these only if it has this group.
    bluesky = _group(instrument, "bluesky", "NXcollection")
    metadata = {"raw_uid": facts.raw_uid, "result_uid": facts.result_uid, **facts.metadata}
    _fields(
        _group(bluesky, "metadata", "NXcollection"),
        {name: value for name, value in metadata.items() if value},
    )


def _write_process(process: h5py.Group, record: XpcsRecord) -> None:
    facts = record.provenance
    _field(process, "program", "apsdm-bluesky")
    if "apsdm-bluesky" in facts.software:
        _field(process, "version", facts.software["apsdm-bluesky"])
    reduction = {
        "configuration": facts.configuration_json,
        "frames": record.frames,
        "result_sha256": record.result_sha256,
    }
    _fields(_group(process, "reduction", "NXcollection"), reduction)
    _fields(_group(process, "software", "NXcollection"), dict(facts.software))
    _fields(_group(process, "fit", "NXcollection"), dict(record.fit))


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _fields(group: h5py.Group, values: dict[str, Any]) -> None:
    for name, value in sorted(values.items()):
        _field(group, name, value)


def _field(group: h5py.Group, name: str, value: Any, units: str | None = None) -> None:
    large = isinstance(value, np.ndarray) and value.nbytes > _COMPRESSED_BYTES
    dataset = group.create_dataset(name, data=value, **(_FILTERS if large else {}))
    if units is not None:
        dataset.attrs["units"] = units


def _link(group: h5py.Group, name: str, source: Any, **attributes: Any) -> None:
    """The same object under a second name, marked as NeXus marks it."""
    source.attrs["target"] = source.name
    source.attrs.update(attributes)
    group[name] = source
