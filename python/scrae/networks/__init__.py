"""The layers of encoder and decoder, the hiding of entries, and the library size of a cell.

They know nothing of the likelihood that scores their output, nor of the regulariser that holds their codes.
"""
