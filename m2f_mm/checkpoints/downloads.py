"""Files of weights from the web, in a cache that never gives one address the file of another, nor a part of one; and
those that come with an installed package."""

import hashlib
import importlib.util
import json
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from mmengine.logging import print_log

FOLDER_VARIABLE = 'M2F_MM_WEIGHTS'
PACKAGE = 'package://'  # before an importable package and a path in it
# Public files have the beginning of their checksum in their names: the official ones of their MD5,
# model_final_94dc52.pkl, those of torchvision and OpenMMLab of their SHA-256, resnet50-0676ba61.pth.
CHECKSUMS = ((r'model_final_([0-9a-f]{6})\.pkl', 'md5'), (r'.*-([0-9a-f]{8})\.pth', 'sha256'))


def fetched(url: str) -> Path:
    """The file behind an address: from the folder that ``M2F_MM_WEIGHTS`` names, where it has its plain name, from
    torch's cache, or downloaded there, whole or not at all.

    In the cache, a file is compared with the checksum in its name. Where its name has none, the address is a part of
    its name there, and the checksum of the download lies beside it. A file that was changed since is fetched again.

    Raises:
        OSError: it cannot be fetched, or only a part of it.
        ValueError: its checksum is not the one in its name.
    """
    file = Path(urlparse(url).path).name
    own = in_own_folder(file)
    if own is not None:
        return own
    cache = torch_cache()
    cached = cache / (file if checksum_in(file) else f'{hashlib.sha256(url.encode()).hexdigest()[:12]}-{file}')
    if cached.is_file():
        if is_as_fetched(cached):
            return cached
        print_log(f'{cached} is not as it was fetched; it is fetched again', 'current', 30)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as unfinished:
        part = Path(unfinished) / file
        torch.hub.download_url_to_file(url, str(part))
        check_length(part, url)
        check_name(part)
        if not checksum_in(file):
            note = Path(unfinished) / 'note'
            note.write_text(json.dumps(dict(url=url, sha256=checksum(part, 'sha256'))), encoding='utf-8')
            discard(cached)  # between the two steps below there is no note without its file, and none of another file
            part.replace(cached)
            note.replace(note_of(cached))
            return cached
        return part.replace(cached)


def in_own_folder(file: str) -> Path | None:
    """The file of this name in the folder that ``M2F_MM_WEIGHTS`` names; None if there is none."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) / file if folder and (Path(folder) / file).is_file() else None


def packaged(address: str) -> Path:
    """The file behind ``package://NAME/PATH``: from the folder that ``M2F_MM_WEIGHTS`` names, or from the installed
    package, of which nothing is imported.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: the file's checksum is not the one in its name.
    """
    package, _, path = address.removeprefix(PACKAGE).partition('/')
    own = in_own_folder(Path(path).name)
    if own is not None:
        return own
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / path
        if file.is_file():
            check_name(file)
            return file
    raise FileNotFoundError(f'{address}: there is no such file, or no package of that name')


def torch_cache() -> Path:
    """The folder in which torch keeps files from the web."""
    return Path(torch.hub.get_dir()) / 'checkpoints'


def discard(path: Path) -> None:
    """Take a file out of the cache. In folders of the user nothing is removed."""
    if path.parent == torch_cache():
        path.unlink(missing_ok=True)
        note_of(path).unlink(missing_ok=True)


def note_of(path: Path) -> Path:
    """Where address and checksum of a file in the cache are written."""
    return path.with_name(f'{path.name}.json')


def is_as_fetched(path: Path) -> bool:
    """Whether a file in the cache has the checksum that its name or its note says."""
    known = checksum_in(path.name)
    if known:
        return checksum(path, known[0]).startswith(known[1])
    try:
        return json.loads(note_of(path).read_text(encoding='utf-8'))['sha256'] == checksum(path, 'sha256')
    except (OSError, ValueError, KeyError, TypeError):
        return False


def checksum_in(name: str) -> tuple[str, str] | None:
    """Kind of checksum and its beginning, where a file's name says it."""
    for pattern, kind in CHECKSUMS:
        match = re.fullmatch(pattern, name)
        if match:
            return kind, match[1]
    return None


def checksum(path: Path, kind: str) -> str:
    """Hexadecimal digest of a file; ``kind`` as for ``hashlib.new``."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_length(path: Path, url: str) -> None:
    """
    Raises:
        OSError: the server says that the file has another length.
    """
    try:
        with urlopen(Request(url, method='HEAD', headers={'User-Agent': 'torch.hub'}), timeout=20) as answer:
            length = int(answer.headers['Content-Length'])
    except (OSError, ValueError, TypeError):
        return  # the server does not say
    if length != path.stat().st_size:
        raise OSError(f'{url} broke off: {path.stat().st_size} of {length} bytes came')


def check_name(path: Path) -> None:
    """
    Raises:
        ValueError: the file's checksum is not the one in its name.
    """
    known = checksum_in(path.name)
    if known and not checksum(path, known[0]).startswith(known[1]):
        raise ValueError(
            f'{path.name} has the {known[0].upper()} {checksum(path, known[0])}, which does not begin as '
            'its name says; it is damaged or another file. Get it again, or pass its path'
        )
