"""Own data in the formats that people have: read a folder, see what is in it, write what training needs.

    >>> data = recognise('my_photos')                            # doctest: +SKIP
    >>> print(summary(data))                                     # doctest: +SKIP
    >>> sample_page(data, 'samples.jpg')                         # doctest: +SKIP
    >>> form = write_training_form(data, 'work_dirs/my_photos')  # doctest: +SKIP
    >>> form.dataset('train')                                    # doctest: +SKIP

A reader of a format is a function ``(folder, options) -> OwnData | None`` in a file of its own, listed in
``recognition.READERS``.
"""

from .recognition import recognise
from .records import TASKS, ImageRecord, ObjectRecord, OwnData, Question, Segment
from .report import sample_page, summary
from .splitting import Split, split, training_splits
from .training_form import SplitFiles, TrainingForm, write_training_form

__all__ = [
    'TASKS',
    'ImageRecord',
    'ObjectRecord',
    'OwnData',
    'Question',
    'Segment',
    'Split',
    'SplitFiles',
    'TrainingForm',
    'recognise',
    'sample_page',
    'split',
    'summary',
    'training_splits',
    'write_training_form',
]
