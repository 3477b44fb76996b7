"""Converters of downloads into the forms that the configs read, and writers of the generated shapes.

One module for each download, over ``runner``; the command lines are in ``tools/dataset_converters``.
"""
