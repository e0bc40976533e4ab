"""From what users hold to minibatches.

Counts and their checks, covariates, files, counts that stay on disk, sparse rows and what networks see of them.
"""
