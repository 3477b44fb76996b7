"""Write docs/options.md from the tables that read the options of configs; a test fails when it was forgotten."""

from pathlib import Path

from m2f_mm.integrations.option_docs import options_page

if __name__ == '__main__':
    (Path(__file__).resolve().parents[1] / 'docs/options.md').write_text(options_page(), encoding='utf-8')
