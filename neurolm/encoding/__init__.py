"""Voxelwise encoding models: from features and BOLD to scores that can be trusted.

Design, EncodingData    word time to delayed TR time, one object for every story
"""

from neurolm.encoding.design import Design, EncodingData

__all__ = ["Design", "EncodingData"]
