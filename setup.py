"""Packaging of m2f_mm. Imports nothing but setuptools, so that it works before torch is installed."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The requirement lines of ``requirements/<name>.txt``."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith('#')]


def version() -> str:
    scope: dict[str, str] = {}
    exec((ROOT / 'm2f_mm' / 'version.py').read_text(encoding='utf-8'), scope)
    return scope['__version__']


def long_description() -> str:
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.exists() else ''


setup(
    # Not 'm2f_mm': MMEngine looks a config package up as a distribution first and then takes
    # site-packages/<name> for granted, which is wrong for an editable install. Under a name of its own it falls back
    # to the import system, which is always right.
    name='mask2former-mm',
    version=version(),
    description='Mask2Former and its family as a plugin of MMDetection 3.x and MMSegmentation 1.x',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    author='m2f_mm contributors',
    license='Apache-2.0',
    keywords='panoptic segmentation, instance segmentation, semantic segmentation, mask2former, openmmlab',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires='>=3.10,<3.13',
    packages=find_namespace_packages(include=['m2f_mm', 'm2f_mm.*']),
    # configs/ and tools/ of the repository, through the links in m2f_mm/.mim; a wheel gets the files themselves.
    package_data={'m2f_mm': ['.mim/model-index.yml', '.mim/configs/**/*', '.mim/tools/**/*']},
    # Neither stack is required, so that installing into an existing project replaces nothing there.
    install_requires=requirements('runtime'),
    extras_require={
        'onedl': requirements('onedl'),
        'openmmlab': requirements('openmmlab'),
        'evaluation': requirements('evaluation'),
        'tests': requirements('tests') + requirements('evaluation'),
        'all-dev': requirements('tests') + requirements('evaluation') + requirements('dev'),
    },
    zip_safe=False,
)
