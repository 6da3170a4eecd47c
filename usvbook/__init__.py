__version__ = "0.1.0"

# The public face, written by hand; nbdev writes the line with the version and leaves the rest.
# Each name is loaded from its room when it is first asked for, so that the package itself loads
# nothing. `__init__.pyi` lists the same names for editors and type checkers.
_ROOM_OF = {
    "CallImages": "preprocessing",
    "Calls": "calls",
    "Fault": "files",
    "MultitaperSegmenter": "segmentation",
    "MupetSegmenter": "mupet",
    "Recording": "recordings",
    "Repertoire": "repertoire",
    "SparseSubspaceClustering": "ssc",
    "Tuner": "tuning",
    "assign_recordings": "runs",
    "build_repertoire": "runs",
    "find_recordings": "recordings",
    "load_model": "embedding_network",
    "plot_mosaic": "figures",
    "segment_recordings": "segmentation",
    "separate": "separation",
    "separate_recording": "separation_runs",
    "synthesize": "synthesis",
}
__all__ = ["__version__", *_ROOM_OF]  # noqa: PLE0604


def __getattr__(name):
    """A name of the public face, loaded now."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'usvbook' has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f"usvbook.{_ROOM_OF[name]}"), name)
    return found


def __dir__():
    """All names, also those that are not loaded yet."""
    return sorted({*globals(), *_ROOM_OF})
