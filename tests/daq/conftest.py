from tests.servers import tiled_server

__all__ = ["tiled_server"]
