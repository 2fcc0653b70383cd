#!/usr/bin/env python
"""Languages."""
__version__ = '1.0'
NAMES = {'de': 'German', 'fr': 'French'}
