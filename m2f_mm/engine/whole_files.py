"""Local files that are written whole or not at all, also where the process or the machine dies meanwhile."""

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

WHOLE = 'm2f_mm_whole'  # its name among MMEngine's file backends
PARTIAL = '.{}.partial'  # name of a file that is being written


@register_backend(WHOLE)
class WholeFiles(LocalBackend):
    """MMEngine's backend of local files, whose files appear under their name when all of them is on the disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes, whole or not at all."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(PARTIAL.format(path.name))
        try:
            with partial.open('wb') as stream:
                stream.write(obj)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        try:  # the new name, too, is to outlive a power cut
            folder = os.open(path.parent, os.O_RDONLY)
        except OSError:  # some systems open no folders
            return
        try:
            os.fsync(folder)
        except OSError:
            pass  # some file systems cannot
        finally:
            os.close(folder)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text, whole or not at all."""
        self.put(obj.encode(encoding), filepath)
