"""Layer 7: a saved model: written once, checked at every reading, never executed."""

from isthmus.serve.bundle import LoadedModel, load_model, save_model
from isthmus.serve.predictor import Predictor, load
from isthmus.serve.verify import verify

__all__ = ["LoadedModel", "Predictor", "load", "load_model", "save_model", "verify"]
