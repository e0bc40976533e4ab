"""What is fitted on finished codes, once training has ended.

Dispersions, the density that new cells are drawn from, types of cells from labels.
"""
