from tests.beamline import sound_detector

__all__ = ["sound_detector"]
