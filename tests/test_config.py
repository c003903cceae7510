"""beamline.yml: what is refused is told in one line, with the key's path."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from apsdm_bluesky import config as module
from apsdm_bluesky.config import BeamlineConfig, load_config
from apsdm_bluesky.errors import ConfigError


def load(tmp_path, text):
    path = tmp_path / "beamline.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path)


def test_no_file_is_the_simulated_beamline():
    config = load_config()
    assert config.simulation is not None
    assert list(config.detectors) == ["sim_det"]


def test_the_environment_names_the_file_where_nobody_else_does(tmp_path, monkeypatch):
    path = tmp_path / "named.yml"
    path.write_text("name: named\n")
    monkeypatch.setenv("APSDM_CONFIG", str(path))
    assert load_config().name == "named"
    assert load(tmp_path, "name: given").name == "given"
    path.unlink()
    with pytest.raises(ConfigError, match=r"named\.yml: No such file"):
        load_config()


def test_an_empty_file_is_the_simulated_beamline(tmp_path):
    assert load(tmp_path, "") == load_config()


def test_detectors_of_a_beamline_are_not_simulated(tmp_path):
    config = load(tmp_path, "detectors: {lambda2m: {prefix: '8idLambda2m:'}}")
    assert config.simulation is None
    assert config.detectors["lambda2m"].prefix == "8idLambda2m:"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("reduction: {qmap: {centre: [1, 2]}}", "reduction.qmap.centre: unknown key"),
        ("reduction: {qmap: {}}", "reduction.qmap: give one of 'file', 'poni' and 'center'"),
        ("reduction: {qmap: {center: [1, 2], file: a.h5}}", "reduction.qmap: give one of 'file', 'poni' and"),
        (
            "reduction: {qmap: {center: [1, 2], energy_kev: 9}}",
            "reduction.qmap: 'distance_m', 'energy_kev' and",
        ),
        (
            "reduction: {qmap: {poni: a.poni, distance_m: 8, energy_kev: 9, pixel_size_m: 1.0e-4}}",
            "reduction.qmap: 'distance_m', 'energy_kev' and 'pixel_size_m' go together, and with 'center'",
        ),
        (
            "reduction: {qmap: {file: a.h5, mask: m.npy, dynamic_bins: 9, phi_bins: 2}}",
            "reduction.qmap: with 'file' the bins are given: leave out dynamic_bins, phi_bins",
        ),
        (
            "reduction: {qmap: {center: [1, 2], phi_bins: 4, spacing: log}}",
            "qmap: phi_bins, spacing: give 'poni'",
        ),
        ("reduction: {qmap: {center: [.nan, 2]}}", "reduction.qmap.center.0: "),
        ("reduction: {interval_s: .inf}", "reduction.interval_s: "),
        ("server: {port: abc}", "server.port: "),
        ("server: {port: 70000}", "server.port: "),
        ("server: {uri: rubbish}", "server.uri: "),
        ("home: 5", "home: "),
        ("detectors: {}", "detectors: "),
        ("detectors: 5", "detectors: "),
        ("detectors: {'2m': {prefix: 'a:'}}", "detectors.2m"),
        ("detectors: {det: {}}", "detectors.det.prefix: "),
        ("detectors: {det: {prefix: 'a:', ring_mb: 0}}", "detectors.det.ring_mb: "),
        ("1: 2", "1: "),
        ("just text", "no mapping"),
        ("[1, 2]", "no mapping"),
        ("a: [1,", "is no YAML"),
        ("a: b\n a: c", "is no YAML"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
        ("[" * 3000, "is nested too deeply"),
        (b"\x00\x01", "is no YAML"),
        (b"\xff\xfe\x00name: caf\xe9", "is no text"),
    ],
)
def test_a_fault_is_told_with_the_path_of_its_key(tmp_path, text, told):
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "beamline.yml") in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"nane: unknown key; .*server\.prot: unknown key|server.*nane"):
        load(tmp_path, "nane: x\nserver: {prot: 1}")


@pytest.mark.parametrize("name", ["missing.yml", "."])
def test_a_file_that_cannot_be_read(tmp_path, name):
    with pytest.raises(ConfigError, match=r"give a readable beamline\.yml"):
        load_config(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "beamline.yml"
    path.touch(mode=0)
    with pytest.raises(ConfigError, match="Permission denied; give a readable"):
        load_config(path)


def test_the_state_folder_is_absolute_and_chosen_by_config_before_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APSDM_HOME", "from-environment")
    assert BeamlineConfig().folders.root == tmp_path / "from-environment"
    assert BeamlineConfig(home="a/../given").folders.root == tmp_path / "given"
    monkeypatch.delenv("APSDM_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert BeamlineConfig().folders.root == tmp_path / ".apsdm"


@pytest.mark.parametrize("name", ["100%", "what?", "no#1", "two\nlines"])
def test_a_state_folder_whose_address_would_be_another_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be in its name"):
        _ = BeamlineConfig(home=tmp_path / name).folders


def models():
    return [
        model
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__
    ]


def test_every_model_refuses_unknown_keys_and_is_frozen():
    for model in models():
        assert model.model_config["extra"] == "forbid"
        assert model.model_config["frozen"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_no_value_of_a_key_is_more_than_a_refusal(value):
    for key in BeamlineConfig.model_fields:
        error = refusal({key: value})
        assert error is None or "\n" not in module.faults_of(error)


def refusal(keys):
    try:
        BeamlineConfig.model_validate(keys)
    except ValidationError as error:
        return error
    return None


def test_a_config_survives_its_way_to_a_child_process():
    config = BeamlineConfig(home="/somewhere", server={"port": 0})
    assert BeamlineConfig.model_validate_json(config.model_dump_json()) == config
