"""Real data that needs no network, each with its origin, licence and hash: text, images, published tables, your own.

Nothing here downloads: the text is the standard library of the running Python, the images are files inside the wheels
of scikit-learn and scikit-image (extra `data`), the tables lie beside this module, and `WORKBENCH_DATA` names a folder
of yours.
"""

from workbench.data._catalogue import catalogue as catalogue
from workbench.data._images import Image as Image
from workbench.data._images import image_names as image_names
from workbench.data._images import images as images
from workbench.data._images import patches as patches
from workbench.data._tables import published as published
from workbench.data._tables import user_path as user_path
from workbench.data._text import Corpus as Corpus
from workbench.data._text import embed as embed
from workbench.data._text import stdlib_text as stdlib_text
