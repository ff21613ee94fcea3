"""From a store of showers to a trained model."""
