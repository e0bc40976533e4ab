"""Arithmetic and the machine; nothing here knows of cells or genes.

Processes, threads, compiled loops, rounded products, the device, neighbours, statistics, files written in one move.
"""
