"""Fitting on features: processing, heads, calibration, folds."""

from __future__ import annotations

from isthmus.fit.calibrate import Temperature
from isthmus.fit.centroid import NearestMeanHead
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.folds import folds
from isthmus.fit.heads import HEADS, head_from_state, make_head
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.fit.multilabel import MultiLabelHead
from isthmus.fit.neighbors import KNNHead
from isthmus.fit.ridge import RidgeHead, RidgeRegressorHead

__all__ = [
    "HEADS",
    "FeatureModel",
    "FeatureProcessor",
    "KNNHead",
    "LogisticHead",
    "MultiLabelHead",
    "NearestMeanHead",
    "RidgeHead",
    "RidgeRegressorHead",
    "Temperature",
    "folds",
    "head_from_state",
    "make_head",
]
