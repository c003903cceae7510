"""The records of an areaDetector IOC that we use: few, and such as every driver and ADCore version has."""

from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO
from ophyd.areadetector.base import EpicsSignalWithRBV


class CameraRecords(Device):
    """`cam1:`, the driver."""

    # No put-completion by default: a second put-callback on Acquire stalls this client's whole CA circuit.
    acquire = Cpt(EpicsSignal, "Acquire", kind="omitted")
    acquiring = Cpt(EpicsSignalRO, "Acquire_RBV", kind="omitted")
    # With it where a plan sets: without, ophyd polls the readback for ever when the driver rounds.
    num_images = Cpt(EpicsSignalWithRBV, "NumImages", kind="config", put_complete=True)
    image_mode = Cpt(EpicsSignalWithRBV, "ImageMode", kind="omitted")
    acquire_time = Cpt(EpicsSignalWithRBV, "AcquireTime", kind="config", put_complete=True)
    acquire_period = Cpt(EpicsSignalWithRBV, "AcquirePeriod", kind="config", put_complete=True)
    array_counter = Cpt(EpicsSignalRO, "ArrayCounter_RBV", kind="omitted")
    array_callbacks = Cpt(EpicsSignalWithRBV, "ArrayCallbacks", kind="omitted")
    num_images_counter = Cpt(EpicsSignalRO, "NumImagesCounter_RBV", kind="omitted")
    detector_state = Cpt(EpicsSignalRO, "DetectorState_RBV", string=True, kind="omitted")
    wait_for_plugins = Cpt(EpicsSignal, "WaitForPlugins", kind="omitted")
    size_x = Cpt(EpicsSignalRO, "SizeX_RBV", kind="config")
    size_y = Cpt(EpicsSignalRO, "SizeY_RBV", kind="config")
    data_type = Cpt(EpicsSignalRO, "DataType_RBV", string=True, kind="config")


class PvaPluginRecords(Device):
    """`Pva1:`, the plug-in that publishes NTNDArray."""

    enable = Cpt(EpicsSignalWithRBV, "EnableCallbacks", kind="omitted")
    dropped_arrays = Cpt(EpicsSignalRO, "DroppedArrays_RBV", kind="omitted")
