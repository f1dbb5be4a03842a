"""Voxelwise encoding models: from features and BOLD to scores that can be trusted.

Design, EncodingData            word time to delayed TR time, one object for every story
correlation_score, r2_score     one number for each voxel
"""

from neurolm.encoding.design import Design, EncodingData
from neurolm.encoding.scores import correlation_score, r2_score

__all__ = ["Design", "EncodingData", "correlation_score", "r2_score"]
