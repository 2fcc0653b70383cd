"""Parts of the generator of scan sets; `scan_sets.py` beside this folder is the program."""
