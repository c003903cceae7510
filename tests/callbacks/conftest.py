from tests.beamline import RE, det, documents, run_engine, sound_detector
from tests.servers import tiled_server

__all__ = ["RE", "det", "documents", "run_engine", "sound_detector", "tiled_server"]
