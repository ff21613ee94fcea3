"""From a trained model to showers."""
