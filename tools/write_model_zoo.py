"""Write docs/model_zoo.md from the metafiles in configs; a test fails when it was forgotten."""

from pathlib import Path

from m2f_mm.apis.model_index import model_zoo


def main() -> None:
    (Path(__file__).resolve().parents[1] / 'docs/model_zoo.md').write_text(model_zoo(), encoding='utf-8')


if __name__ == '__main__':
    main()
