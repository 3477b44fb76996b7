"""What the values of label maps mean.

Nothing in such files says what 0 and 255 are. A list of classes, a class that is called background or void, or the
values themselves decide what they can; the rest becomes a ``Question`` with the facts and the default that is taken:

- 255 beside two other values or more is ignored; 0 and 255 alone are background and foreground.
- 0 that a list of classes passes over is a class of its own, ``background``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from .class_lists import VOID, ClassList
from .options import Options
from .records import BACKGROUND, Question, background_label
from .value_maps import color_number, share, shown_values

FOREGROUND = 'foreground'


def given_classes(options: Options) -> ClassList | None:
    """The classes that a user gave."""
    if options.colors:
        return ClassList(
            'colors=', list(options.colors), colors=[color_number(each) for each in options.colors.values()]
        )
    if isinstance(options.classes, Mapping):
        return ClassList('classes=', list(options.classes.values()), values=list(options.classes))
    return None if options.classes is None else ClassList('classes=', list(options.classes))


def decide(
    counts: Counter, listed: ClassList | None, options: Options, colored: bool = False
) -> tuple[dict[int, str | None], list[str], list[Question]]:
    """What each value of label maps means.

    Args:
        counts: pixels of each value in all files.
        listed: the classes, where a file or the user names them.
        options: what the user says of background and ignored values.
        colored: whether values are colors.

    Returns:
        The class of each value, None for what is ignored; notes; questions.
    """
    notes: list[str] = []
    questions: list[Question] = []
    meanings = _listed_meanings(counts, listed, options, colored, notes, questions)
    ignored = None if options.ignore is None else {_value(each) for each in options.ignore}
    background = None if options.background is None else _value(options.background)
    if ignored is not None:
        meanings.update(dict.fromkeys(ignored))
        notes.append(f'Ignored, as the option ignore says: {shown_values(sorted(ignored), colored)}.')
    if background is not None and background not in (ignored or ()):
        meanings[background] = meanings.get(background) or BACKGROUND
        notes.append(f'Background, as the option background says: {shown_values([background], colored)}.')
    if not colored and 255 in counts and 255 not in meanings and ignored is None:
        _decide_255(counts, meanings, listed, notes, questions)
    if 0 in counts and 0 not in meanings:
        _decide_0(counts, meanings, listed, colored, questions)
    if listed is None:
        for value in counts:
            meanings.setdefault(value, f'class_{value}')
        unnamed = [name for name in meanings.values() if name and name.startswith('class_')]
        if unnamed:
            questions.append(
                Question(
                    f'No file such as classes.txt names the classes of {shown_values(sorted(counts), colored, 20)}.',
                    ('classes',),
                    'They are called class_ and their number',
                )
            )
    return meanings, notes, questions


def _listed_meanings(
    counts: Counter,
    listed: ClassList | None,
    options: Options,
    colored: bool,
    notes: list[str],
    questions: list[Question],
) -> dict[int, str | None]:
    if listed is None:
        return {}
    if colored:
        values: Sequence[int] = listed.colors or ()
    elif listed.values is not None:
        values = listed.values
    else:
        ignored = {255} if options.ignore is None else {_value(each) for each in options.ignore}
        highest = max((value for value in counts if value not in ignored), default=0)
        number = len(listed.names)
        first = 1 if highest == number else 0
        values = range(first, first + number)
        facts = f'{listed.file} names {number} classes without their values; values reach up to {highest}'
        if highest >= number - 1 or background_label(listed.names) == 0 or counts.keys() <= {0, 255}:
            notes.append(f'{facts}, so the first of them is {first}.')
        else:
            questions.append(
                Question(
                    f'{facts}, which can be a list from 0 on or one from 1 on.',
                    ('classes',),
                    'The first of them is taken as 0',
                )
            )
    meanings: dict[int, str | None] = dict(zip(values, listed.names))
    for value, name in meanings.items():
        if name is not None and name.lower().strip() in VOID:
            meanings[value] = None
            notes.append(
                f'{name!r} ({shown_values([value], colored)}, {share(counts, value)} of the pixels) is ignored, by its '
                'name.'
            )
    return meanings


def _decide_255(
    counts: Counter,
    meanings: dict[int, str | None],
    listed: ClassList | None,
    notes: list[str],
    questions: list[Question],
) -> None:
    others = [value for value in counts if value != 255]
    facts = f'255 has {share(counts, 255)} of the pixels'
    names = [] if listed is None else listed.names
    if others == [0] and len(names) <= 2 and (listed is None or listed.values is None):
        name = names[-1] if names else FOREGROUND
        meanings.clear()
        meanings.update({0: names[0] if len(names) == 2 else BACKGROUND, 255: name})
        questions.append(
            Question(
                f'Masks have the values 0 ({share(counts, 0)} of the pixels) and 255 alone.',
                ('ignore',),
                f'0 is taken as {meanings[0]}, 255 as the class {name}',
            )
        )
    elif listed is not None:
        meanings[255] = None
        notes.append(f'{facts} and is not among the classes of {listed.file}: ignored.')
    else:
        meanings[255] = None
        notes.append(f'{facts} beside {len(others)} other values: ignored.')


def _decide_0(
    counts: Counter, meanings: dict[int, str | None], listed: ClassList | None, colored: bool, questions: list[Question]
) -> None:
    what = 'Black' if colored else '0'
    if listed is not None:
        meanings[0] = BACKGROUND
        questions.append(
            Question(
                f'{what} has {share(counts, 0)} of the pixels and is not among the classes of {listed.file}.',
                ('ignore',),
                f'It is taken as a class of its own, {BACKGROUND}',
            )
        )
    else:
        meanings[0] = 'class_0'
        questions.append(
            Question(
                f'{what} has {share(counts, 0)} of the pixels, and nothing says whether it is a class, background, or '
                'without annotation.',
                ('background', 'ignore'),
                'It is taken as a class like the others, class_0',
            )
        )


def _value(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else color_number(tuple(value))
