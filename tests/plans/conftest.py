from tests.beamline import RE, det, documents, run_engine, sound_detector

__all__ = ["RE", "det", "documents", "run_engine", "sound_detector"]
