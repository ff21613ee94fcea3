"""Public layouts in: read as they were published, written as shower files."""

from caloforge.files.layouts.convert import convert, layout_of, open_public
from caloforge.files.layouts.formats import LAYOUTS, PublicFile

__all__ = ["LAYOUTS", "PublicFile", "convert", "layout_of", "open_public"]
