"""`apsdm shell`: IPython with the beamline ready."""

from ._options import ConfigOption, HomeOption, configured

_BANNER = """
apsdm-bluesky: {name}
  RE          the RunEngine            RE(xpcs_series({detector}, 1000))
  catalog     the Tiled catalogue      catalog["raw"], catalog["processed"]
  devices     {devices}
  session     all of it; session.reducers["{detector}"].last.result is the newest result
"""


def shell(config: ConfigOption = None, home: HomeOption = None) -> None:
    """Open IPython with RE, catalog, devices and plans ready."""
    import IPython

    from apsdm_bluesky.session import open_session

    from ._services import services

    settings = configured(config, home)
    with services(settings, any_port=True), open_session(settings) as session:
        from bluesky import plan_stubs, plans

        from apsdm_bluesky.plans import xpcs_series

        names = {
            "session": session,
            "RE": session.RE,
            "catalog": session.catalog,
            "devices": session.devices,
            "xpcs_series": xpcs_series,
            "bp": plans,
            "bps": plan_stubs,
            **session.devices,
        }
        print(
            _BANNER.format(
                name=settings.name, devices=", ".join(session.devices), detector=next(iter(session.devices))
            )
        )
        IPython.start_ipython(argv=["--no-banner"], user_ns=names)
