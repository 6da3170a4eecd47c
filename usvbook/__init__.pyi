"""The names of the public face; `__init__.py` loads each when it is first asked for."""

from usvbook.calls import Calls as Calls
from usvbook.embedding_network import load_model as load_model
from usvbook.figures import plot_mosaic as plot_mosaic
from usvbook.files import Fault as Fault
from usvbook.mupet import MupetSegmenter as MupetSegmenter
from usvbook.preprocessing import CallImages as CallImages
from usvbook.recordings import Recording as Recording
from usvbook.recordings import find_recordings as find_recordings
from usvbook.repertoire import Repertoire as Repertoire
from usvbook.runs import assign_recordings as assign_recordings
from usvbook.runs import build_repertoire as build_repertoire
from usvbook.segmentation import MultitaperSegmenter as MultitaperSegmenter
from usvbook.segmentation import segment_recordings as segment_recordings
from usvbook.separation import separate as separate
from usvbook.separation_runs import separate_recording as separate_recording
from usvbook.ssc import SparseSubspaceClustering as SparseSubspaceClustering
from usvbook.synthesis import synthesize as synthesize
from usvbook.tuning import Tuner as Tuner

__version__: str
