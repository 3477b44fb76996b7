"""Records of images with label maps, once it is known which file belongs to which image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ..faults import Fault
from ..label_maps import WrongLabelMap, check_size
from .folder import Folder
from .parallel import parallel
from .records import ImageRecord, OwnData, background_label
from .value_maps import IGNORED, ValueTable, count_values, shown_values


class Pair(NamedTuple):
    """Path of an image, path of its label map, and its split."""

    image: str
    label_map: str
    split: str = ''


def counted_maps(folder: Folder, pairs: Sequence[Pair], table: ValueTable | None = None) -> list[ImageRecord]:
    """Records of the images whose label maps can be read and are of their size, with the pixels of each value.

    Args:
        folder: gets the faults of the others.
        pairs: of images and label maps.
        table: says how files are read; by default their values are numbers.
    """
    records = []
    for pair, size in [(pair, folder.size(pair.image)) for pair in pairs]:
        if size is not None:
            records.append(ImageRecord(pair.image, size, pair.split, label_map=pair.label_map))
    usable = []
    for record, fault in zip(records, parallel(partial(_count, table or ValueTable({})), records)):
        if fault is None:
            usable.append(record)
        else:
            folder.faults.append(fault)
    return usable


def _count(table: ValueTable, record: ImageRecord) -> Fault | None:
    """Fill in the values of a record, or say what is wrong with its label map."""
    try:
        values = table.read_values(record.label_map)
        check_size(record.label_map, values.shape, record.image, record.size)
    except FileNotFoundError as error:
        return Fault('label maps that do not exist', record.label_map, '', str(error))
    except WrongLabelMap as error:
        return error.fault
    record.values = count_values(values)
    return None


def total_values(records: Sequence[ImageRecord]) -> Counter:
    """Pixels of each value in all label maps."""
    total: Counter = Counter()
    for record in records:
        total.update(record.values)
    return total


def label_map_data(
    folder: Folder,
    form: str,
    reason: str,
    records: Sequence[ImageRecord],
    meanings: Mapping[int, str | None],
    table: ValueTable | None = None,
    order: Sequence[str] | None = None,
) -> OwnData:
    """Data of label maps whose values are known.

    Args:
        folder: gets a fault for each file with a value that has no meaning; its record is left out.
        form: name of the format.
        reason: the file that decided the format.
        records: of ``counted_maps``.
        meanings: class of each value, None for values that are ignored.
        table: says how files are read; its labels are replaced.
        order: of the classes; by default that of the values.
    """
    classes = list(order or dict.fromkeys(name for _, name in sorted(meanings.items()) if name is not None))
    labels = {
        value: classes.index(name) if name in classes else IGNORED for value, name in meanings.items()
    }  # fmt: skip
    table = ValueTable(labels, bool(table and table.colored), bool(table and table.gray))
    data = OwnData(folder.root, form, reason, ('semantic',), classes, [], table=table)
    data.background = background_label(classes)
    for record in records:
        unknown = [value for value in record.values if value not in labels]
        if not unknown:
            data.records.append(record)
            continue
        where = shown_values(unknown, table.colored)
        folder.faults.append(
            Fault(
                'label maps with values that no class has',
                record.label_map,
                '',
                f'it has {where}; known are {shown_values(sorted(labels), table.colored)}',
                'Add the class to the list of classes, or name the value in the option ignore',
            )
        )
    return data
