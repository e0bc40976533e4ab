"""The terms put together: one module that encodes, decodes and scores, its settings, and the presets that name them.

The contrastive term between two masked views belongs to it, because it needs the encoder twice.
"""
