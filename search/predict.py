"""What the champion, another registered version, or a search's model says of images.

python -m search.predict models:/NAME@champion IMAGE... [--box x1,y1,x2,y2] [--json] [--explain DIR]
python -m search.predict models:/NAME/3 --submission DATA [--out DIR]
python -m search.predict NAME IMAGE...        # a search's promoted model, or else its best

All options are those of `fashion_core.predict`, which answers.
"""

from __future__ import annotations

from search.commands.predict import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
